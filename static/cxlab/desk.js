// The labelling desk. Answers go into an outbox in the browser first, then to the server, in order, each under its own key:
// an answer that cannot be sent is kept and sent again. What people wrote is only ever put on the page as text.
"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const state = JSON.parse($("state").textContent);
  // From the cookie where it can be read: signing in again in another tab makes a new one.
  const csrf = () => /(?:^|; )csrftoken=([^;]+)/.exec(document.cookie)?.[1] || JSON.parse(document.body.getAttribute("hx-headers"))["x-csrftoken"];
  const SPACE = "cxlab:" + state.person + ":", OUTBOX = SPACE + "outbox:" + state.queue + ":";
  const IDLE = 30000, BIG = 12;
  const SKIPS = ["Not my language", "Cannot be read or heard", "Too hard to decide", "Other"];
  const COMMANDS = { undo: "undo", skip: "skip with a reason", flag: "flag", comment: "comment, certainty", next_turn: "next turn", previous_turn: "previous turn", play: "play or pause", back: "back one second", guideline: "guideline", help: "all keys" };

  let keys = state.keys, signals = state.signals, guidelines = state.guidelines;
  let current = null;           // the item on screen
  let ahead = [];               // items that are here already, the next one first
  let past = [];                // what was sent from this page, newest last: {item, answer, key}
  let outbox = Object.keys(localStorage).filter((name) => name.startsWith(OUTBOX)).map((name) => read(name, null)).filter(Boolean).sort((one, other) => one.at - other.at);
  let sending = false, asking = false, ended = false, retry = 0, timer = 0;
  let focus = 0, views = [], cursor = -1, values = {};
  let done = state.progress.done, left = state.progress.left;
  let active = 0, last = performance.now(), lastEvent = last;

  function read(name, otherwise) { try { return JSON.parse(localStorage.getItem(name)) ?? otherwise; } catch { return otherwise; } }
  function write(name, value) { try { value === null ? localStorage.removeItem(name) : localStorage.setItem(name, JSON.stringify(value)); } catch { notice("This browser keeps nothing: stay on the page until everything is sent."); } }
  function make(tag, className, text) { const node = document.createElement(tag); if (className) node.className = className; if (text !== undefined) node.textContent = text; return node; }
  function notice(text) { $("notice").textContent = text; $("notice").hidden = !text; }
  function keyName(key) { return { " ": "Space", Backspace: "⌫", ArrowLeft: "←", ArrowRight: "→" }[key] || key; }
  const clock = (s) => String(Math.floor(s / 60)).padStart(2, "0") + ":" + String(Math.floor(s % 60)).padStart(2, "0");

  // Active time: what lies between two signs of life counts up to half a minute; a hidden tab does not.
  function tick() {
    const now = performance.now();
    if (!document.hidden) active += Math.min(now - last, Math.max(0, IDLE - (last - lastEvent)));
    last = now;
  }
  function alive() { tick(); lastEvent = last; }
  for (const kind of ["keydown", "pointerdown", "pointermove", "wheel", "touchstart"]) addEventListener(kind, alive, { passive: true, capture: true });
  document.addEventListener("visibilitychange", () => { if (document.hidden) { const now = performance.now(); active += Math.min(now - last, Math.max(0, IDLE - (last - lastEvent))); last = now; save(); } else { last = lastEvent = performance.now(); } });

  // ---- the item on screen
  function show(item, answer) {
    current = item; cursor = -1; notice("");
    const draft = answer || read(SPACE + "draft:" + item.assignment, null);
    values = {}; active = draft?.seconds ? draft.seconds * 1000 : 0; last = lastEvent = performance.now();
    for (const label of draft?.labels || []) values[label.signal] = label.value;
    $("comment").value = draft?.comment || "";
    for (const radio of document.getElementsByName("sure")) radio.checked = draft?.confidence !== undefined && draft?.confidence !== null && String(draft.confidence) === radio.value;
    if ($("comment").value) aside(true);
    $("waiting").hidden = true; $("panel").inert = false;
    transcript(item); questions(); counts(); prefetch();
    $("desk").dataset.assignment = item.assignment;
  }

  function transcript(item) {
    const talk = item.conversation, list = document.createDocumentFragment();
    const audio = $("audio"); audio.pause();
    $("player").hidden = !talk.audio;
    if (talk.audio) audio.src = talk.audio; else audio.removeAttribute("src");
    const end = talk.turns.reduce((most, turn) => Math.max(most, turn.end || turn.start || 0), 0);
    const at = talk.started_at && new Date(talk.started_at);
    const facts = [talk.channel, at && at.toLocaleDateString("en-GB", { day: "numeric", month: "long" }) + ", " + at.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" }), end && Math.floor(end / 60) + " min " + Math.round(end % 60) + " s", talk.cohort, talk.customer];
    $("facts").replaceChildren(...facts.filter(Boolean).map((fact) => make("span", "", fact)));
    talk.turns.forEach((turn, number) => {
      const row = make("li", "turn " + (["customer", "agent", "system", "tool"].includes(turn.role) ? turn.role : "other") + (number === item.turn ? " asked" : ""));
      row.dataset.turn = number;
      const when = typeof turn.start === "number" ? clock(turn.start) : turn.at ? new Date(turn.at).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" }) : "";
      row.append(make("span", "at", when), make("span", "role", turn.role + (number === item.turn ? ", the turn that is asked about" : "")), make("span", "text", turn.text));
      list.append(row);
    });
    $("turns").replaceChildren(list);
    $("turns").classList.toggle("untimed", !talk.turns.some((turn) => typeof turn.start === "number" || turn.at));
    $("seek").max = end || 1; $("seek").value = 0; $("clock").textContent = clock(0);
    if (talk.audio) parts(talk.turns, end);
    if (item.turn !== null && item.turn !== undefined) { cursor = item.turn; $("turns").children[item.turn]?.scrollIntoView({ block: "center" }); }
    else { $("talk").scrollTop = 0; scrollTo(0, 0); }
  }

  function parts(turns, end) {
    $("parts").replaceChildren(...turns.filter((turn) => typeof turn.start === "number").map((turn) => {
      const part = make("i", turn.role === "customer" ? "customer" : "");
      part.dataset.at = turn.start; part.style.left = 100 * turn.start / end + "%"; part.style.width = 100 * Math.max(0.3, (turn.end ?? turn.start) - turn.start) / end + "%";
      return part;
    }));
  }

  function moveTo(number) {
    const rows = $("turns").children;
    if (!rows.length) return;
    rows[cursor]?.classList.remove("cursor");
    cursor = Math.max(0, Math.min(rows.length - 1, number));
    rows[cursor].classList.add("cursor"); rows[cursor].scrollIntoView({ block: "nearest" });
  }

  // ---- the questions
  function withKeys(choices) {
    const used = new Set(choices.map((choice) => choice.key));
    const spare = [..."1234567890"].filter((key) => !used.has(key));
    return choices.length > 10 ? choices : choices.map((choice) => ({ ...choice, key: choice.key || spare.shift() || "" }));
  }

  function questions() {
    views = signals.map((signal, index) => {
      const box = make("fieldset", "question"), title = make("legend", "", signal.title);
      box.append(title); box.dataset.signal = signal.slug;
      const view = { signal, box, choices: withKeys(signal.categories), inputs: [], filter: null, number: null, lit: -1 };
      if (signal.scale === "interval") interval(view, index); else choices(view, index);
      box.addEventListener("pointerdown", () => { if (focus !== index) look(index, false); });
      return view;
    });
    $("questions").replaceChildren(...views.map((view) => view.box));
    const open = views.findIndex((view) => values[view.signal.slug] === undefined);
    paint(); look(open < 0 ? 0 : open, true);
  }

  function choices(view, index) {
    const many = view.signal.scale === "multilabel";
    if (view.choices.length > BIG) {
      view.filter = make("input", "filter"); view.filter.type = "text"; view.filter.placeholder = "Type to filter"; view.filter.setAttribute("aria-label", "Filter the answers of " + view.signal.title);
      view.filter.addEventListener("input", () => narrow(view)); view.box.append(view.filter);
    }
    const list = make("div", "answers" + (view.filter ? " big" : ""));
    view.inputs = view.choices.map((choice) => {
      const row = make("label", "answer"), input = make("input");
      input.type = many ? "checkbox" : "radio"; input.name = "q-" + view.signal.slug; input.value = choice.value;
      const badge = make("kbd", "", choice.key); badge.setAttribute("aria-hidden", "true");
      row.append(input, badge, make("span", "", choice.label)); list.append(row);
      input.addEventListener("click", (event) => { if (event.detail) input.blur(); });
      input.addEventListener("change", () => { focus = index; choose(view, choice.value); });
      return input;
    });
    view.box.append(list);
    if (many) view.box.append(make("p", "hint", "Several may apply; Enter without any says none of them."));
  }

  function narrow(view) {
    const text = view.filter.value.trim().toLowerCase(); view.lit = -1;
    view.inputs.forEach((input, at) => { const fits = (view.choices[at].label + " " + view.choices[at].value).toLowerCase().includes(text); input.parentNode.hidden = !fits; if (fits && view.lit < 0 && text) view.lit = at; });
    light(view);
  }
  function light(view) { view.inputs.forEach((input, at) => input.parentNode.classList.toggle("lit", at === view.lit)); view.inputs[view.lit]?.parentNode.scrollIntoView({ block: "nearest" }); }

  function interval(view, index) {
    const { min, max } = view.signal, row = make("div", "interval"), field = make("input"), put = (text) => { focus = index; const number = Number(text); set(view, text === "" || !Number.isFinite(number) ? undefined : number); };
    field.type = "number"; field.step = "any"; field.setAttribute("aria-label", view.signal.title);
    if (min !== null) field.min = min; if (max !== null) field.max = max;
    field.addEventListener("input", () => put(field.value)); view.number = field; row.append(field);
    if (min !== null && max !== null) {
      const slider = make("input"); slider.type = "range"; slider.min = min; slider.max = max; slider.step = max - min > 20 ? 1 : (max - min) / 100; slider.setAttribute("aria-label", view.signal.title + ", as a slider");
      slider.addEventListener("input", () => { field.value = slider.value; put(slider.value); }); view.slider = slider;
      row.append(slider); view.box.append(row, make("p", "hint", min + " to " + max));
    } else view.box.append(row);
  }

  function paint() {
    for (const view of views) {
      const value = values[view.signal.slug];
      view.inputs.forEach((input) => { input.checked = Array.isArray(value) ? value.includes(input.value) : value === input.value; });
      if (view.number && document.activeElement !== view.number) view.number.value = value ?? "";
      if (view.slider) { view.slider.value = value ?? (view.signal.min + view.signal.max) / 2; view.slider.classList.toggle("unset", value === undefined); }
    }
  }

  function look(index, move) {
    focus = index;
    views.forEach((view, at) => view.box.classList.toggle("on", at === index));
    const view = views[index], wants = view.number || (view.filter && view.choices.some((choice) => !choice.key) ? view.filter : null);
    if (move && matchMedia("(hover: hover)").matches) { if (wants) wants.focus({ preventScroll: true }); else if (typing(document.activeElement)) document.activeElement.blur(); }
    if (move && index) view.box.scrollIntoView({ block: "nearest" });
  }

  function set(view, value) { if (value === undefined) delete values[view.signal.slug]; else values[view.signal.slug] = value; paint(); save(); }

  function choose(view, value) {
    if (view.signal.scale === "multilabel") {
      const had = values[view.signal.slug] || [];
      set(view, had.includes(value) ? had.filter((other) => other !== value) : view.choices.map((choice) => choice.value).filter((other) => other === value || had.includes(other)));
      return;
    }
    set(view, value);
    if (views.length === 1) submit(); else walk();
  }
  function walk() {
    const open = views.findIndex((view, at) => at > focus && values[view.signal.slug] === undefined);
    if (open >= 0) look(open, true); else if (typing(document.activeElement)) document.activeElement.blur();
  }

  function sure() { const radio = [...document.getElementsByName("sure")].find((one) => one.checked); return radio ? Number(radio.value) : undefined; }
  function answer() { return { labels: signals.filter((signal) => values[signal.slug] !== undefined).map((signal) => ({ signal: signal.slug, value: values[signal.slug] })), comment: $("comment").value, confidence: sure(), seconds: Math.round(active) / 1000 }; }
  function save() { if (current) { tick(); write(SPACE + "draft:" + current.assignment, answer()); } }

  // ---- acts
  function submit() {
    if (!current) return ended && location.assign("done/");
    const view = views[focus];
    if (view.signal.scale === "multilabel" && values[view.signal.slug] === undefined) values[view.signal.slug] = [];
    const open = views.findIndex((one) => values[one.signal.slug] === undefined);
    if (open >= 0) { look(open, true); return notice(open === focus && views.length === 1 ? "Choose an answer first." : "Still open: " + views[open].signal.title); }
    if (views.some((one) => one.number && !one.number.validity.valid)) return notice("The number is out of range.");
    tick();
    const given = answer();
    const labels = given.labels.map((label) => (given.confidence === undefined ? label : { ...label, confidence: given.confidence }));
    const versions = {}; for (const one of guidelines) if (one.version) versions[one.signal] = one.version;
    act("submit", { labels, comment: given.comment, seconds: given.seconds, guidelines: versions }, given);
  }

  // One entry of the store for each act, so that two tabs cannot overwrite each other's.
  function put(assignment, path, body) {
    const key = crypto.randomUUID ? crypto.randomUUID() : Date.now() + "-" + Math.random();
    const entry = { assignment, path, body: { ...body, key }, at: Date.now() };
    outbox.push(entry); write(OUTBOX + key, entry);
    return key;
  }

  function act(path, body, given) {
    const key = put(current.assignment, path, body);
    write(SPACE + "draft:" + current.assignment, null);
    past.push({ item: current, answer: given, key, path }); past = past.slice(-10);
    if (path === "submit") done += 1;
    left = Math.max(0, left - 1); current = null; aside(false); $("guideline").contains(document.activeElement) || document.activeElement.blur?.();
    advance(); send();
  }

  function advance() {
    if (current) return;
    const item = ahead.shift();
    if (item) return show(item);
    $("panel").inert = false; $("questions").replaceChildren(); $("turns").replaceChildren(); $("player").hidden = true; views = [];
    $("facts").textContent = "\u00a0"; delete $("desk").dataset.assignment;
    $("waiting").hidden = false;
    $("waiting").textContent = ended ? (outbox.length ? "That was the last one; your answers are on their way." : "That was the last one. Enter shows how it went, " + keyName(keys.undo) + " takes it back.") : navigator.onLine ? "The next conversation is on its way." : "There is no connection. Your answers are kept here and sent as soon as there is one.";
    counts(); if (!ended) prefetch();
  }

  function held() { return [...new Set([current, ...ahead].filter(Boolean).map((item) => item.assignment).concat(outbox.map((one) => one.assignment)))]; }

  async function call(path, body, method = "POST") {
    const response = await fetch("/api/v1/" + path, { method, headers: { "content-type": "application/json", "x-csrftoken": csrf() }, body: method === "GET" ? undefined : JSON.stringify(body), keepalive: method !== "GET" && JSON.stringify(body).length < 30000 });
    let data = null; if (response.status !== 204) try { data = await response.json(); } catch { /* an answer of a proxy */ }
    return { status: response.status, ok: response.ok, data };
  }

  function arrived(item) {
    if (!item) { ended = true; if (!current) advance(); return; }
    ended = false;
    if (held().includes(item.assignment)) return;
    if (item.signals) { signals = item.signals; renewGuidelines(); }
    item.until = Date.now() + state.lease_seconds * 1000;
    ahead.push(item); advance();
  }

  async function prefetch() {
    if (asking || sending || ended || ahead.length || outbox.length) return;
    asking = true;
    try {
      const { status, ok, data } = await call("queues/" + state.queue + "/next/", { holding: held() });
      if (status === 204) arrived(null); else if (ok) arrived(data); else failed(status, data);
      retry = 0;
    } catch { later(); } finally { asking = false; }
    if (outbox.length) send(); else if (!ended && !ahead.length && current === null && !timer) later();
  }

  // One at a time and in order; what the server has acknowledged leaves the outbox, nothing else does.
  async function send() {
    if (sending || asking || !outbox.length) return counts();
    sending = true; counts();
    const first = outbox[0], undoing = first.path === "undo";
    if (!first.tried) { first.tried = true; write(OUTBOX + first.body.key, first); }
    try {
      const wants = !ahead.length && !ended && !undoing;
      const { status, ok, data } = await call("assignments/" + first.assignment + "/" + first.path + "/", { ...first.body, next: wants, holding: held().filter((one) => one !== first.assignment) });
      if (!ok && (status >= 500 || status === 401 || status === 403 || status === 429)) throw new Error(String(status));
      outbox = outbox.filter((one) => one.body.key !== first.body.key); write(OUTBOX + first.body.key, null); retry = 0;
      if (!ok && !(undoing && status === 404)) { failed(status, data); if (status !== 409 && !undoing) left += 1; }
      if (ok && wants) arrived(data.next);
    } catch (error) {
      sending = false; counts();
      if (/^40[13]$/.test(error.message)) notice("You are signed out. Your answers are kept here; sign in again in another tab.");
      return later();
    }
    sending = false; counts();
    if (outbox.length) send(); else { if (!current) advance(); prefetch(); }
  }

  function failed(status, data) {
    const code = data?.code;
    notice(code === "late" ? "Others had finished the last item; your answer is kept as a late one." : (data?.title || "The server refused the last answer (" + status + ").") + (data?.errors?.[0]?.message && data.errors[0].message !== data.title ? " " + data.errors[0].message : ""));
  }
  function later() { clearTimeout(timer); timer = setTimeout(() => { timer = 0; if (outbox.length) send(); else prefetch(); }, Math.min(30000, 1000 * 2 ** retry++)); }
  addEventListener("online", () => { retry = 0; clearTimeout(timer); timer = 0; if (outbox.length) send(); else prefetch(); });
  // Who leaves gives back what was only prefetched; the item on screen and its draft stay theirs.
  addEventListener("pagehide", (event) => { save(); if (!event.persisted) for (const item of ahead) call("assignments/" + item.assignment + "/release/", {}).catch(() => {}); });
  addEventListener("beforeunload", (event) => { save(); if (outbox.length && sending) event.preventDefault(); });

  async function undo() {
    const latest = past[past.length - 1], waiting = latest && outbox.find((one) => one.body.key === latest.key);
    if (waiting && !waiting.tried) {
      outbox = outbox.filter((one) => one !== waiting); write(OUTBOX + latest.key, null); past.pop();
      return back(latest.item, latest.answer, latest.path === "submit");
    }
    if (latest?.path === "submit") {
      // Perhaps the server has it, perhaps not: taking it back is an act of its own, sent after it.
      past.pop(); put(latest.item.assignment, "undo", {}); back(latest.item, latest.answer, true);
      return send();
    }
    if (outbox.length) return notice("The last answer is still being sent; undo works once it is there.");
    if (asking) return;
    asking = true;
    try {
      const { ok, data } = await call("queues/" + state.queue + "/undo/", {});
      if (!ok) return notice(data?.title || "Nothing to take back.");
      past.pop(); data.until = Date.now() + state.lease_seconds * 1000; signals = data.signals;
      const confidence = data.answer.labels[0]?.confidence;
      back(data, { ...data.answer, confidence: confidence ?? undefined }, data.answer.kind === "answer");
    } catch { notice("Undo needs a connection."); } finally { asking = false; }
  }
  function back(item, given, counted) {
    save(); if (current) ahead.unshift(current);
    if (counted) done = Math.max(0, done - 1); left += 1; ended = false; show(item, given); save();
  }

  setInterval(() => {
    if (document.hidden || performance.now() - lastEvent > 4 * IDLE) return;
    for (const item of [current, ...ahead]) {
      if (!item || item.until - Date.now() > state.lease_seconds * 500) continue;
      item.until = Date.now() + state.lease_seconds * 1000;
      call("assignments/" + item.assignment + "/renew/", {}).then(({ status }) => { if (status === 409 && item === current) notice("Somebody else has this item by now; your answer is kept all the same."); }).catch(() => { item.until = 0; });
    }
  }, Math.min(30000, state.lease_seconds * 250));

  function counts() {
    $("count").textContent = done + " of " + (done + left) + (state.progress.more ? "+" : "");
    $("bar").value = done + left ? done / (done + left) : 0;
    const minutes = state.pace && Math.round(state.pace * left / 60);
    $("pace").textContent = !state.pace || !left || state.progress.more ? "" : minutes < 1 ? "less than a minute left at your pace" : minutes > 90 ? Math.round(minutes / 60) + " hours left at your pace" : minutes + (minutes === 1 ? " minute" : " minutes") + " left at your pace";
    const waiting = outbox.length - (sending && retry === 0 ? 1 : 0);
    $("sending").textContent = waiting > 0 ? waiting + (waiting === 1 ? " answer waits" : " answers wait") + " to be sent" : "";
  }

  // ---- reasons, comment, guideline, keys
  let picked = null;
  function ask(title, options, then) {
    if (!current) return;
    $("reasons-title").textContent = title; $("note").value = "";
    $("reason-list").replaceChildren(...options.map(([value, label], at) => {
      const button = make("button", "second"); button.type = "button"; button.append(make("kbd", "", String(at + 1)), make("span", "", label));
      button.addEventListener("click", () => { picked = null; $("reasons").close(); then(value, label, $("note").value.trim()); });
      return button;
    }));
    picked = options; $("reasons").showModal(); $("reason-list").firstChild.focus();
  }
  $("reasons").addEventListener("keydown", (event) => {
    const at = Number(event.key) - 1;
    if (event.target.type !== "text" && Number.isInteger(at) && $("reason-list").children[at]) { event.preventDefault(); $("reason-list").children[at].click(); }
    if (event.target.type === "text" && event.key === "Enter") { event.preventDefault(); $("reason-list").lastChild.click(); }
  });
  function skip() { ask("Why skip it?", SKIPS.map((text) => [text, text]), (value, label, note) => { tick(); act("skip", { reason: note ? value + ": " + note : value, seconds: Math.round(active) / 1000 }, answer()); }); }
  function flag() { ask("What is wrong with it?", state.flags.map((code) => [code, code[0].toUpperCase() + code.slice(1).replaceAll("_", " ")]), (value, label, note) => { tick(); act("flag", { reason: value, comment: note || $("comment").value, seconds: Math.round(active) / 1000 }, answer()); }); }
  function aside(open) { $("aside").hidden = !open; document.querySelector("[data-do=comment]").setAttribute("aria-expanded", String(open)); }
  function comment() { aside(true); $("comment").focus(); }

  function drawer(open, say) {
    $("guideline").hidden = !open; document.body.classList.toggle("with-guideline", open);
    document.querySelector(".commands [data-do=guideline]").setAttribute("aria-expanded", String(open));
    write(SPACE + "guideline", open); if (open && say) $("guideline").focus({ preventScroll: true });
  }
  function guidelineText() {
    $("guideline-text").replaceChildren(...guidelines.flatMap((one) => [make("h2", "", one.title), make("p", "hint", one.version ? "Guideline, version " + one.version : ""), make("div", "prose", one.text || "No guideline is written yet.")]));
  }
  async function renewGuidelines() {
    const known = Object.fromEntries(guidelines.map((one) => [one.signal, one.version]));
    if (signals.every((signal) => (known[signal.slug] ?? null) === (signal.guideline_version ?? null))) return;
    try { const { ok, data } = await call("queues/" + state.queue + "/guidelines/", null, "GET"); if (ok) { guidelines = data.guidelines; guidelineText(); notice("The guideline has a new version: " + keyName(keys.guideline) + " shows it."); } } catch { /* asked again with the next item */ }
  }

  function sheet() {
    const fixed = [["1 – 9, 0, a – z", "choose the answer with that key"], ["↑ ↓", "previous, next question"], ["Enter", "submit (Ctrl+Enter inside a text box)"], ["Ctrl+Z", "undo"], ["Esc", "leave a field"]];
    const rows = fixed.map(([key, text]) => { const row = make("tr"), cell = make("td"); cell.append(make("kbd", "", key)); row.append(cell, make("td", "", text), make("td")); return row; });
    for (const [name, text] of Object.entries(COMMANDS)) {
      const row = make("tr"), cell = make("td"), end = make("td"), button = make("button", "link", "change"); button.type = "button"; button.setAttribute("aria-label", "Change the key for " + text);
      cell.append(make("kbd", "", keyName(keys[name]))); end.append(button); row.append(cell, make("td", "", text), end); rows.push(row);
      button.addEventListener("click", () => { button.textContent = "press a key"; button.addEventListener("keydown", (event) => { if (["Shift", "Control", "Alt", "Meta"].includes(event.key)) return; event.preventDefault(); event.stopPropagation(); if (event.key === "Escape") return sheet(); remap({ ...keys, [name]: event.key }); }); });
    }
    $("sheet-rows").replaceChildren(...rows); if (!$("sheet").open) $("sheet").showModal();
  }
  async function remap(wanted) {
    try { const { ok, data } = await call("keymap/", wanted, "PUT"); if (ok) keys = data; $("sheet-state").textContent = ok ? "Saved." : data?.title || "Not saved."; } catch { $("sheet-state").textContent = "Not saved: there is no connection."; }
    sheet(); badges();
  }
  function badges() { for (const button of document.querySelectorAll(".commands [data-do]")) button.querySelector("kbd").textContent = keyName(keys[button.dataset.do]); }

  // ---- sound
  const audio = $("audio");
  function play() { if ($("player").hidden) return; if (audio.paused) audio.play().catch(() => notice("The audio cannot be played.")); else audio.pause(); }
  function seek(to) { audio.currentTime = Math.max(0, to); heard(); }
  function heard() {
    const at = audio.currentTime; $("clock").textContent = clock(at); $("seek").value = at; $("parts").style.setProperty("--heard", 100 * at / Number($("seek").max) + "%");
    for (const part of $("parts").children) part.classList.toggle("heard", Number(part.dataset.at) < at);
    alive();
    const turns = current?.conversation.turns || [], now = turns.findLastIndex((turn) => typeof turn.start === "number" && turn.start <= at + 0.05);
    const row = $("turns").children[now], before = $("turns").querySelector(".spoken");
    if (row !== before) { before?.classList.remove("spoken"); row?.classList.add("spoken"); if (!audio.paused) row?.scrollIntoView({ block: "nearest" }); }
  }
  audio.addEventListener("timeupdate", heard);
  audio.addEventListener("loadedmetadata", () => { if (Number.isFinite(audio.duration)) $("seek").max = audio.duration; });
  for (const kind of ["play", "pause", "ended"]) audio.addEventListener(kind, () => { $("play").textContent = audio.paused ? "▶" : "❚❚"; $("play").setAttribute("aria-label", audio.paused ? "Play" : "Pause"); });
  $("play").addEventListener("click", (event) => { play(); if (event.detail) $("play").blur(); });
  $("seek").addEventListener("input", () => seek(Number($("seek").value)));
  $("turns").addEventListener("click", (event) => { const row = event.target.closest(".turn"); if (!row || String(getSelection())) return; moveTo(Number(row.dataset.turn)); const start = current?.conversation.turns[cursor]?.start; if (current?.conversation.audio && typeof start === "number") seek(start); });

  // ---- keys
  const typing = (node) => Boolean(node && (node.tagName === "TEXTAREA" || node.tagName === "SELECT" || node.isContentEditable || (node.tagName === "INPUT" && ["text", "number", "search"].includes(node.type))));
  const DO = { undo, skip, flag, comment, next_turn: () => moveTo(cursor + 1), previous_turn: () => moveTo(cursor - 1), play, back: () => seek(audio.currentTime - 1), guideline: () => drawer($("guideline").hidden, true), help: sheet };

  document.addEventListener("keydown", (event) => {
    const node = event.target, view = views[focus];
    if (event.defaultPrevented || event.isComposing || document.querySelector("dialog[open]")) return;
    if ((event.ctrlKey || event.metaKey) && !event.altKey) {
      if (event.key === "Enter") { event.preventDefault(); submit(); }
      else if (event.key === "z" && !typing(node)) { event.preventDefault(); undo(); }
      return;
    }
    if (event.altKey || (event.shiftKey && /^([a-z]|\w{2,})$/i.test(event.key))) return;
    if (event.key === "Escape") { if (typing(node)) node.blur(); else if (!$("guideline").hidden && $("guideline").contains(node)) drawer(false); return; }
    if (node === view?.filter && filterKey(event, view)) return;
    if (typing(node)) {
      if (node === view?.number && event.key === "Enter") { event.preventDefault(); next(); }
      if (node === view?.number && (event.key === "ArrowUp" || event.key === "ArrowDown") && views.length > 1) { event.preventDefault(); step(event.key); }
      return;
    }
    if (["BUTTON", "A", "SUMMARY"].includes(node.tagName) && (event.key === "Enter" || event.key === " ")) return;
    if (node.type === "range" || (node.name === "sure" && event.key !== "Enter")) { if (event.key !== "Enter") return; }
    if (event.repeat && event.key !== keys.next_turn && event.key !== keys.previous_turn) return;
    if (event.key === "Enter") { event.preventDefault(); return next(); }
    const name = Object.keys(keys).find((one) => keys[one] === event.key);
    if (!current) { if (name === "undo" && ended || name === "help") { event.preventDefault(); DO[name](); } return; }  // nobody answers an item they have not seen
    if (event.key === "ArrowUp" || event.key === "ArrowDown") { event.preventDefault(); return step(event.key); }
    if (view?.number && /^[0-9.-]$/.test(event.key)) { view.number.focus(); return; }
    const choice = view?.choices.find((one) => one.key && one.key === event.key);
    if (choice) { event.preventDefault(); return choose(view, choice.value); }
    if (event.key === " " && ["radio", "checkbox"].includes(node.type)) return;
    if (event.key === " " && $("player").hidden) return;
    if (name) { event.preventDefault(); DO[name](); }
  });
  function step(key) { look((focus + (key === "ArrowDown" ? 1 : views.length - 1)) % views.length, true); }
  // Enter: submit; while a question further down is open, it goes there first.
  function next() {
    const view = views[focus];
    if (view?.signal.scale === "multilabel" && values[view.signal.slug] === undefined) set(view, []);
    if (view && values[view.signal.slug] !== undefined && views.some((one) => values[one.signal.slug] === undefined)) { const open = views.findIndex((one) => values[one.signal.slug] === undefined); return look(open, true); }
    submit();
  }
  function filterKey(event, view) {
    const shown = view.inputs.map((_, at) => at).filter((at) => !view.inputs[at].parentNode.hidden);
    if (event.key === "ArrowDown" || event.key === "ArrowUp") { const at = shown.indexOf(view.lit); view.lit = shown[(at + (event.key === "ArrowDown" ? 1 : -1) + shown.length) % shown.length] ?? -1; light(view); }
    else if (event.key === "Enter") { if (view.lit >= 0) { const value = view.choices[view.lit].value; view.filter.value = ""; narrow(view); choose(view, value); } else next(); }
    else return false;
    event.preventDefault(); return true;
  }

  $("panel").addEventListener("submit", (event) => { event.preventDefault(); next(); });
  $("panel").addEventListener("input", save);
  for (const button of document.querySelectorAll("[data-do]")) button.addEventListener("click", (event) => { DO[button.dataset.do](); if (event.detail && button.dataset.do !== "comment" && button.dataset.do !== "guideline") button.blur(); });
  $("help").addEventListener("click", sheet);
  $("usual").addEventListener("click", () => remap(state.usual_keys));

  badges(); guidelineText(); drawer(read(SPACE + "guideline", false), false); counts();
  if (state.item && !outbox.some((one) => one.assignment === state.item.assignment)) { state.item.until = Date.now() + state.lease_seconds * 1000; show(state.item); } else advance();
  send();
})();
