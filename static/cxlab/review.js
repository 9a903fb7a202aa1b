// Review by keyboard: one key decides. Silent while one types and with a held modifier.
"use strict";
(() => {
  const decision = document.getElementById("decision");
  const typing = (target) => target.closest("textarea, select, input:not([type=checkbox]):not([type=radio])");
  const held = (event) => event.ctrlKey || event.metaKey || event.altKey || event.isComposing;
  const undo = () => document.getElementById("undo")?.requestSubmit();
  if (!decision) {
    // Nothing is left to decide; the last decision may have been a slip.
    document.addEventListener("keydown", (event) => {
      if (event.key === "u" && !held(event) && !typing(event.target)) undo();
    });
    return;
  }
  let sent = false;
  // Of several questions, in practice, one at a time takes the keys, and shows them.
  const groups = [...decision.querySelectorAll("[role=group]")];
  let asked = 0;
  const ask = (index) => {
    asked = index;
    groups.forEach((group, at) => group.classList.toggle("on", at === index));
    if (groups.length > 1) groups[index].scrollIntoView({ block: "nearest" });
  };
  const field = () => groups[asked].querySelector("input[type=number]");
  const isOpen = (group) => (group.querySelector("[type=radio]") && !group.querySelector(":checked")) || group.querySelector("[type=number]")?.value === "";
  // To the next question below; after the last one to one that is open still, or away with it.
  const next = () => {
    const open = asked < groups.length - 1 ? asked + 1 : groups.findIndex(isOpen);
    if (groups.length > 1 && open >= 0) ask(open);
    else decision.requestSubmit();
  };
  const follow = (selector) => document.querySelector(selector)?.click();

  const nextReason = () => {
    const reasons = [...decision.querySelectorAll("input[name=reason]")];
    const here = reasons.findIndex((reason) => reason.checked);
    const next = reasons[(here + 1) % reasons.length];
    next.checked = true;
    next.focus();
  };
  const toggleGuideline = () => {
    const guideline = document.getElementById("guideline");
    guideline.open = !guideline.open;
    // From here Tab leads to mending it.
    if (guideline.open) guideline.querySelector("summary").focus();
  };
  const voice = document.getElementById("player")?.voice;
  const commands = {
    r: nextReason,
    n: () => document.getElementById("note").focus(),
    o: () => follow("#more"),
    h: toggleGuideline,
    u: undo,
    ArrowRight: () => follow("a[rel=next]"),
    ArrowLeft: () => follow("a[rel=prev]"),
    Enter: next,
    ...(groups.length > 1 && {
      ArrowDown: () => ask((asked + 1) % groups.length),
      ArrowUp: () => ask((asked + groups.length - 1) % groups.length),
    }),
    // Of a call, as on the desk.
    ...(voice && {
      " ": voice.play,
      b: voice.back,
      p: () => voice.turn(),
      l: voice.follow,
      ",": voice.slower,
      ".": voice.faster,
    }),
  };

  document.addEventListener("keydown", (event) => {
    if (held(event)) return;
    if (typing(event.target)) {
      if (event.key === "Escape") event.target.blur();
      if (event.key === "Enter" && event.target === field()) {
        event.preventDefault();
        event.target.blur();
        next();
      }
      // The browser would press the first of the buttons: what is typed decides nothing.
      if (event.key === "Enter" && event.target.id === "note" && !decision.querySelector(".actions [type=submit]")) {
        event.preventDefault();
        event.target.blur();
      }
      return;
    }
    const choice = [...groups[asked].querySelectorAll("[data-key]")].find((one) => one.dataset.key === event.key);
    if (choice) {
      event.preventDefault();
      choice.click();
      if (choice.type === "radio" && asked < groups.length - 1) ask(asked + 1);
      return;
    }
    if (field() && /^[0-9.-]$/.test(event.key)) {
      field().select();
      field().focus();
      return;
    }
    if (event.key === " " && event.target.closest("a, button, summary, input")) return;
    if (event.key === "Enter" && (event.target.closest("a, button, summary") || !decision.querySelector(".actions [type=submit]"))) return;
    if (commands[event.key]) {
      event.preventDefault();
      commands[event.key]();
    }
  });
  // A turn that is asked about is on screen, with what was said before it.
  document.querySelector(".turn.asked")?.scrollIntoView({ block: "nearest" });

  // A second press before the next page is there decides nothing.
  decision.addEventListener("submit", (event) => {
    if (sent) event.preventDefault();
    sent = true;
  });
  window.addEventListener("pageshow", () => { sent = false; });
  ask(0);
  decision.dataset.ready = "";
})();
