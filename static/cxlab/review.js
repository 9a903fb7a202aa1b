// Review by keyboard: one key decides. Silent while one types and with a held modifier.
"use strict";
(() => {
  const decision = document.getElementById("decision");
  if (!decision) return;
  let sent = false;
  const typing = (target) => target.closest("textarea, select, input:not([type=checkbox]):not([type=radio])");
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
    o: () => follow("#more button"),
    h: toggleGuideline,
    u: () => follow("#back"),
    ArrowRight: () => follow("a[rel=next]"),
    ArrowLeft: () => follow("a[rel=prev]"),
    Enter: () => decision.requestSubmit(),
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
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (typing(event.target)) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    const choice = [...decision.querySelectorAll("[data-key]")].find((one) => one.dataset.key === event.key);
    if (choice) {
      event.preventDefault();
      choice.click();
      return;
    }
    if (event.key === " " && event.target.closest("a, button, summary, input")) return;
    if (event.key === "Enter" && (event.target.closest("a, button, summary") || !decision.querySelector(".choices [type=submit]"))) return;
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
  decision.dataset.ready = "";
})();
