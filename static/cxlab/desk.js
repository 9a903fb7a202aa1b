// The labelling desk. Answers go into an outbox in the browser first, then to the server, in order, each under its own key:
// an answer that cannot be sent is kept and sent again. What people wrote is only ever put on the page as text.
"use strict";
(() => {
  const $ = (id) => document.getElementById(id), all = (selector, of = document) => [...of.querySelectorAll(selector)];
  const state = JSON.parse($("state").textContent);
  const SPACE = `cxlab:${state.person}:`, OUTBOX = `${SPACE}outbox:${state.queue}:`, LEASE = state.lease_seconds * 1000;
  const IDLE = 30000, LONG = 20000, MANY = 200, UNSURE = 0.5, RECENT = 5;

  let keys = state.keys, current = null;
  let ahead = [];               // items that are here already, the next one first
  let past = [];                // what was sent from this page, newest last: {item, answer, key, path}
  let outbox = stored();
  let sending = false, asking = false, doubted = false, ended = false, outside = false, retry = 0, timer = 0, focus = 0, cursor = -1;
  let met = () => false;        // whether what the notice asks for has been done meanwhile
  let { done, left } = state.progress;

  function read(name, otherwise) { try { return JSON.parse(localStorage.getItem(name)) ?? otherwise; } catch { return otherwise; } }
  function write(name, value) {
    try { value === null ? localStorage.removeItem(name) : localStorage.setItem(name, JSON.stringify(value)); }
    catch { notice("This browser keeps nothing: stay on the page until everything is sent."); }
  }
  function stored() { return Object.keys(localStorage).filter((name) => name.startsWith(OUTBOX)).map((name) => read(name, null)).filter(Boolean).sort((one, other) => one.at - other.at); }
  function make(tag, className, text) { const node = document.createElement(tag); if (className) node.className = className; if (text !== undefined) node.textContent = text; return node; }
  function notice(text, until = () => false) { met = until; $("notice").textContent = text; $("notice").hidden = !text; if (text) $("notice").scrollIntoView({ block: "nearest" }); }
  // What each tab of this person shows, so that none gives back what another has on screen.
  const SHOWN = `${SPACE}shown:`, tab = SHOWN + Math.random().toString(36).slice(2);
  const elsewhere = () => Object.keys(localStorage).filter((name) => name.startsWith(SHOWN) && name !== tab).map((name) => read(name, {})).filter((one) => Math.abs(Date.now() - one.at) < LEASE).map((one) => one.assignment);
  const draft = (item) => SPACE + "draft:" + item.assignment;
  const keyName = (key) => ({ " ": "Space", Backspace: "⌫", ArrowLeft: "←", ArrowRight: "→" })[key] || key;

  // Active time: what lies between two signs of life counts up to half a minute; a hidden tab does not.
  let active = 0, last = performance.now(), lively = last, away = document.hidden;
  function tick() { const now = performance.now(); if (!away) active += Math.max(0, Math.min(now, lively + IDLE) - last); last = now; }
  function alive() { tick(); lively = last; }
  for (const kind of ["keydown", "pointerdown", "pointermove", "wheel", "touchstart"]) addEventListener(kind, alive, { passive: true, capture: true });
  document.addEventListener("visibilitychange", () => { tick(); away = document.hidden; lively = last; if (away) save(); else renew(); });

  // ---- the item on screen
  function show(item, answer) {
    // The questions are in the page: where they have changed since, so must the page. The item stays leased meanwhile.
    if (item.signals && shape(item.signals) !== shape(state.signals)) { save(); return location.reload(); }
    if (item.signals && versions(item.signals) !== versions(state.signals)) guidelines(item.signals);
    current = item; notice(""); write(tab, { assignment: item.assignment, at: Date.now() });
    const kept = answer || read(draft(item), {}), given = new Map((kept.labels || []).map((label) => [label.signal, label.value]));
    active = 1000 * (kept.seconds || 0); last = lively = performance.now();
    for (const view of views) { fill(view, given.get(view.slug)); recent(view); reveal(view); }
    $("comment").value = kept.comment || ""; aside(Boolean(kept.comment));
    for (const radio of all("[name=sure]")) radio.checked = String(kept.confidence ?? "") === radio.value;
    $("waiting").hidden = true; $("questions").inert = false; $("desk").dataset.assignment = item.assignment;
    transcript(item); counts();
    look(Math.max(0, views.findIndex((view) => value(view) === undefined)), true);
    prefetch();
  }
  const shape = (signals) => JSON.stringify(signals.map((signal) => ({ ...signal, guideline_version: 0 })));
  const versions = (signals) => signals.map((signal) => signal.guideline_version).join();

  function transcript(item) {
    const talk = item.conversation, rows = document.createDocumentFragment(), started = talk.started_at && new Date(talk.started_at);
    const hour = (at) => at.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
    const end = talk.turns.reduce((most, turn) => Math.max(most, turn.end || turn.start || 0), 0);
    const facts = [talk.channel, started && started.toLocaleDateString("en-GB", { day: "numeric", month: "long" }) + ", " + hour(started), end && (end < 60 ? "" : Math.floor(end / 60) + " min ") + Math.floor(end % 60) + " s", talk.cohort, talk.customer];
    $("facts").replaceChildren(...facts.filter(Boolean).map((fact) => make("span", "", fact)));
    talk.turns.forEach((turn, number) => {
      const asked = number === item.turn, timed = typeof turn.start === "number";
      const row = make("li", `turn ${/^(customer|agent|system|tool)$/.test(turn.role) ? turn.role : "other"}${asked ? " asked" : ""}`);
      if (timed) { row.dataset.start = turn.start; if (typeof turn.end === "number") row.dataset.end = turn.end; }
      const when = timed ? Math.floor(turn.start / 60).toString().padStart(2, "0") + ":" + Math.floor(turn.start % 60).toString().padStart(2, "0") : turn.at ? hour(new Date(turn.at)) : "";
      row.append(make("span", "at", when), make("span", "role", turn.role + (asked ? ", the turn that is asked about" : "")), said(turn));
      rows.append(row);
    });
    if (talk.heard) { const row = make("li", "turn other"); row.append(make("span", "role", "heard against said"), said({ pieces: talk.heard })); rows.append(row); }
    $("turns").replaceChildren(rows);
    $("turns").classList.toggle("untimed", !talk.turns.some((turn) => typeof turn.start === "number" || turn.at));
    voice.load(talk.audio);
    cursor = item.turn ?? -1;
    $("turns").classList.toggle("long", talk.turns.length > MANY);
    if (cursor >= 0) centre($("turns").children[cursor], talk.turns.length > MANY ? 8 : 0); else { $("talk").scrollTop = 0; scrollTo(0, 0); }
  }
  // The heights of a long transcript are guesses until its turns come near: what was in the middle moves as they are drawn.
  function centre(row, frames) {
    if (!row?.isConnected) return;
    row.scrollIntoView({ block: "center" });
    const at = row.getBoundingClientRect().top;
    if (frames) requestAnimationFrame(() => requestAnimationFrame(() => { if (Math.abs(row.getBoundingClientRect().top - at) > 1) centre(row, frames - 1); }));
  }

  // The words of a turn, as text: beside what was misheard what was really said, and words that the recogniser doubted.
  function said(turn) {
    const text = make("span", "text"); text.dir = "auto";
    if (turn.pieces) for (const [heard, reference] of turn.pieces) {
      text.append(make("span", reference === null ? "" : "misheard", heard), " ");
      if (reference !== null) { const really = make("span", "reference", reference || "(–)"); really.prepend(make("span", "visually-hidden", reference ? "said: " : "nothing was said here ")); text.append(really, " "); }
    } else if (turn.words) for (const [word, sure] of turn.words) {
      const node = make("span", sure !== null && sure < UNSURE ? "unsure" : "", word);
      if (node.className) { node.title = `heard with ${Math.round(100 * sure)} % certainty`; node.append(make("span", "visually-hidden", ` (${Math.round(100 * sure)} % certain)`)); }
      text.append(node, " ");
    } else if (turn.text.length > LONG) {
      const rest = make("button", "link", `Show all ${turn.text.length.toLocaleString("en-GB")} characters`); rest.type = "button";
      rest.addEventListener("click", () => text.replaceChildren(turn.text));
      text.append(turn.text.slice(0, LONG) + "… ", rest);
    } else text.textContent = turn.text;
    return text;
  }

  function moveTo(number) {
    const rows = $("turns").children;
    if (!rows.length) return;
    rows[cursor]?.classList.remove("cursor");
    cursor = Math.max(0, Math.min(rows.length - 1, number));
    rows[cursor].classList.add("cursor"); rows[cursor].scrollIntoView({ block: "nearest" });
  }

  // ---- the questions: their inputs hold the answers
  const views = all(".question").map((box) => ({
    box, slug: box.dataset.signal, several: box.dataset.scale === "multilabel", none: false, lit: null, title: box.querySelector("legend").textContent,
    inputs: all(".answer input", box), filter: box.querySelector(".filter"), number: box.querySelector("[type=number]"), slider: box.querySelector("[type=range]"),
  }));
  function value(view) {
    if (view.number) return view.number.value === "" ? undefined : Number(view.number.value);
    const chosen = view.inputs.filter((input) => input.checked).map((input) => input.value);
    return view.several ? (chosen.length || view.none ? chosen : undefined) : chosen[0];
  }
  function fill(view, given) {
    for (const input of view.inputs) input.checked = view.several ? Boolean(given?.includes(input.value)) : given === input.value;
    view.none = view.several && given?.length === 0;
    if (view.number) { view.number.value = given ?? ""; slide(view); }
    if (view.filter) { view.filter.value = ""; narrow(view); }
  }
  function slide(view) { if (view.slider) { view.slider.classList.toggle("unset", view.number.value === ""); view.slider.value = view.number.value === "" ? (Number(view.slider.min) + Number(view.slider.max)) / 2 : view.number.value; } }
  // Of many answers those that were given last come first.
  function recent(view) {
    if (!view.filter) return;
    const first = read(SPACE + "recent:" + view.slug, []).map((code) => view.inputs.find((input) => input.value === code)).filter(Boolean);
    const rows = [...new Set([...first, ...view.inputs])].map((input) => input.parentNode);
    rows.forEach((row, at) => row.classList.toggle("recent", at === first.length - 1));
    view.box.querySelector(".answers").append(...rows);
  }
  function remember(view, given) { if (view.filter && given !== undefined) write(SPACE + "recent:" + view.slug, [...new Set([].concat(given, read(SPACE + "recent:" + view.slug, [])))].slice(0, RECENT)); }
  function narrow(view) {
    const text = view.filter.value.trim().toLowerCase();
    for (const input of view.inputs) input.parentNode.hidden = !(input.parentNode.textContent + " " + input.value).toLowerCase().includes(text);
    light(view, text ? fitting(view)[0] : null);
  }
  const fitting = (view) => all(".answer:not([hidden])", view.box);
  function light(view, row) { view.lit?.classList.remove("lit"); view.lit = row || null; row?.classList.add("lit"); row?.scrollIntoView({ block: "nearest" }); }

  // In a list that scrolls the chosen answer is in view; without one its beginning, where the recent ones are.
  function reveal(view) {
    const list = view.box.querySelector(".big"), row = view.inputs.find((input) => input.checked)?.parentNode;
    if (list) list.scrollTop = row ? row.offsetTop - (list.clientHeight - row.offsetHeight) / 2 : 0;
  }

  function look(index, move) {
    focus = index;
    views.forEach((view, at) => view.box.classList.toggle("on", at === index));
    badges();
    const view = views[index], field = view.number || (view.filter && view.inputs.some((input) => !input.dataset.key) ? view.filter : null);
    if (move && matchMedia("(hover: hover)").matches) { if (field) field.focus({ preventScroll: true }); else if (typing(document.activeElement)) document.activeElement.blur(); }
    // Of several questions the one in focus is in view; for the first one the panel goes back to its beginning.
    if (move) index ? view.box.scrollIntoView({ block: "nearest" }) : $("panel").scrollTop = 0;
  }
  function chosen(view) {
    view.none = false; changed();
    if (view.several) return;
    if (views.length === 1) return submit();
    const open = views.findIndex((one, at) => at > focus && value(one) === undefined);
    if (open >= 0) look(open, true); else if (typing(document.activeElement)) document.activeElement.blur();
  }
  function choose(view, input) { input.checked = view.several ? !input.checked : true; chosen(view); }
  views.forEach((view, index) => {
    view.box.addEventListener("pointerdown", () => { if (focus !== index) look(index, false); });
    for (const input of view.inputs) {
      input.addEventListener("click", (event) => { if (event.detail) input.blur(); });
      input.addEventListener("change", () => { focus = index; chosen(view); });
    }
    view.filter?.addEventListener("input", () => narrow(view));
    view.number?.addEventListener("input", () => { focus = index; slide(view); });
    view.slider?.addEventListener("input", () => { focus = index; view.number.value = view.slider.value; slide(view); });
  });

  function answer() {
    tick();
    const sure = all("[name=sure]").find((one) => one.checked);
    const labels = views.filter((view) => value(view) !== undefined).map((view) => ({ signal: view.slug, value: value(view) }));
    return { labels, comment: $("comment").value, confidence: sure && Number(sure.value), seconds: Math.round(active) / 1000 };
  }
  function save() { if (current) write(draft(current), answer()); }
  function changed() { if (met()) notice(""); save(); }

  // ---- acts
  // Enter: submit; while a question further down is open, it goes there first.
  function next() {
    if (!current) return ended && location.assign("done/");
    const view = views[focus];
    if (view.several && value(view) === undefined) { view.none = true; changed(); }
    const open = views.findIndex((one) => value(one) === undefined);
    if (open >= 0 && open !== focus && value(view) !== undefined) return look(open, true);
    submit();
  }
  function submit() {
    if (!current) return;
    const open = views.findIndex((view) => value(view) === undefined), wrong = views.find((view) => view.number && !view.number.validity.valid);
    if (wrong) return notice("The number is out of range.", () => wrong.number.validity.valid);
    if (open >= 0) { look(open, true); return notice(views.length === 1 ? "Choose an answer first." : "Still open: " + views[open].title, () => value(views[open]) !== undefined); }
    const given = answer(), read = Object.fromEntries(state.signals.filter((signal) => signal.guideline_version).map((signal) => [signal.slug, signal.guideline_version]));
    for (const view of views) remember(view, value(view));
    const labels = given.labels.map((label) => (given.confidence === undefined ? label : { ...label, confidence: given.confidence }));
    act("submit", { labels, comment: given.comment, seconds: given.seconds, guidelines: read }, given);
  }
  // One entry of the store for each act, so that two tabs cannot overwrite each other's; later ones have higher numbers,
  // whatever the clock says.
  function put(assignment, path, body) {
    const key = crypto.randomUUID ? crypto.randomUUID() : `${Date.now()}-${Math.random()}`;
    const entry = { assignment, path, body: { ...body, key }, at: Math.max(Date.now(), ...outbox.map((one) => one.at + 1)) };
    outbox.push(entry); write(OUTBOX + key, entry);
    return key;
  }
  function act(path, body, given) {
    past = [...past, { item: current, answer: given, key: put(current.assignment, path, body), path }].slice(-10);
    if (path === "submit") done += 1;
    leave(); send();
  }
  function leave() {
    write(draft(current), null); left = Math.max(0, left - 1); current = null; aside(false);
    if (!$("guideline").contains(document.activeElement)) document.activeElement.blur();
    advance();
  }
  function advance() {
    if (current) return;
    const item = ahead.shift();
    if (item) return show(item);
    for (const view of views) fill(view, undefined);
    $("turns").replaceChildren(); voice.load(null); $("facts").textContent = "\u00a0"; delete $("desk").dataset.assignment;
    $("waiting").hidden = false; $("questions").inert = ended;
    if (ended && !outbox.length && !past.length && !done) return location.replace("done/");  // which says why
    $("waiting").textContent = ended ? (outbox.length ? "Nothing more is here for you now; your answers are on their way." : "Nothing more is here for you now. ")
      : outside ? "Nothing can be labelled here." : navigator.onLine ? "The next conversation is on its way." : "There is no connection. Your answers are kept here and sent as soon as there is one.";
    if (ended && !outbox.length) { const why = make("a", "", "Why, and how it went"); why.href = "done/"; $("waiting").append(why, ` (Enter); ${keyName(keys.undo)} takes the last answer back.`); }
    counts(); if (!ended) prefetch();
  }

  // ---- the server
  // From the cookie where it can be read: signing in again in another tab makes a new one.
  const csrf = () => /(?:^|; )csrftoken=([^;]+)/.exec(document.cookie)?.[1] || JSON.parse(document.body.getAttribute("hx-headers"))["x-csrftoken"];
  async function call(path, body, method = "POST") {
    const text = JSON.stringify(body);
    const response = await fetch("/api/v1/" + path, { method, headers: { "content-type": "application/json", "x-csrftoken": csrf() }, body: text, keepalive: text.length < 30000 });
    let data = null; if (response.status !== 204) try { data = await response.json(); } catch { /* an answer of a proxy */ }
    return { status: response.status, ok: response.ok, data };
  }
  // What another tab has answered and not sent yet is named, too: so the server does not give it here again.
  const held = () => [...new Set([current, ...ahead, ...outbox, ...stored()].filter(Boolean).map((one) => one.assignment))];

  // "Nothing is left" is believed at once where the count says so too, else when it is said again.
  function arrived(item, surely = left <= ahead.length + (current ? 1 : 0)) {
    ended = !item && (surely || doubted); doubted = !item && !ended;
    if (item && !held().includes(item.assignment)) { item.since = Date.now(); ahead.push(item); }
    advance();
  }
  async function prefetch() {
    if (asking || sending || ended || ahead.length || outbox.length || (current && stored().length)) return;
    const first = !current; asking = true;
    try {
      const { status, ok, data } = await call(`queues/${state.queue}/next/`, { holding: held() });
      if (ok) { retry = 0; arrived(data); } else if (data?.code === "practice_first") arrived(null, true); else failed(status, data);
    } catch { later(); } finally { asking = false; }
    if (outbox.length) send(); else if (first && current) prefetch(); else if (!ended && !ahead.length && !current && !timer) later();
  }
  // One at a time and in order; what the server has acknowledged leaves the outbox, nothing else does.
  async function send() {
    if (sending || asking || !outbox.length) return counts();
    sending = true; counts();
    const first = outbox[0], undoing = first.path === "undo", wants = !ahead.length && !undoing;
    if (!first.tried) { first.tried = true; write(OUTBOX + first.body.key, first); }
    let got;
    try {
      got = await call(`assignments/${first.assignment}/${first.path}/`, { ...first.body, next: wants, holding: held().filter((one) => one !== first.assignment) });
      if (!got.ok && (got.status >= 500 || [401, 403, 429].includes(got.status))) throw new Error(String(got.status));
      if (got.data?.code === "unknown_assignment") { const door = await call(`queues/${state.queue}/next/`, { holding: held() }); if (door.data?.code === "not_a_member") got = door; }
      if (got.ok && !got.data?.assignment) throw new Error("answered by somebody else");  // the sign-in of a hotel says 200 to everything
    } catch (error) {
      sending = false; counts();
      if (/^40[13]$/.test(error.message)) notice("You are signed out. Your answers are kept here; sign in again in another tab.");
      return later();
    }
    const { status, ok, data } = got;
    // Of somebody who was taken off the queue nothing is thrown away: it is sent when they are let in again.
    if (data?.code === "not_a_member") { sending = false; failed(status, data); counts(); return later(); }
    settle(first); retry = 0; outside = false;
    if (!ok && !(undoing && status === 404)) { failed(status, data, undoing ? "" : "The last answer was not taken: "); if (status !== 409 && !undoing) comesAgain(first); }
    sending = false;
    if (ok && wants) arrived(data.next);
    if (ok && data?.feedback?.length) checked(data.feedback);
    counts();
    if (outbox.length) send(); else { advance(); prefetch(); }
  }
  // What the server cannot take, since a category went meanwhile, say, comes again, with all else that was answered.
  function comesAgain({ assignment, path, body }) {
    left += 1;
    if (path === "submit") { done = Math.max(0, done - 1); write(draft({ assignment }), { labels: body.labels, comment: body.comment, confidence: body.labels[0]?.confidence, seconds: body.seconds }); }
  }
  function settle(entry) { outbox = outbox.filter((one) => one.body.key !== entry.body.key); write(OUTBOX + entry.body.key, null); }
  // The last item was a gold check, and its queue tells.
  function checked(told) {
    const words = (one, value) => [value].flat().map((member) => state.signals.find((signal) => signal.slug === one.signal)?.categories.find((choice) => choice.value === member)?.label ?? member).join(", ") || "none of them";
    notice("The last one was a check. " + told.map((one) => (one.correct ? "Right: " + words(one, one.known) + "." : "You said " + words(one, one.value) + "; the gold says " + words(one, one.known) + ".") + (one.explanation ? " " + one.explanation : "")).join(" "));
  }
  function failed(status, data, lead = "") {
    outside = data?.code === "not_a_member";
    if (outside) return notice("You are not a member of this queue any more." + (outbox.length ? ` ${outbox.length} answer${outbox.length === 1 ? " is" : "s are"} kept in this browser, and sent if you are let in again.` : ""));
    const title = data?.title || `the server says ${status}`, detail = data?.errors?.[0]?.message;
    notice(data?.code === "late" ? "Others had finished the last item; your answer is kept as a late one." : lead + title + (detail && detail !== title ? " " + detail : ""));
  }
  function again() { timer = 0; if (outbox.length) send(); else prefetch(); }
  function later() { clearTimeout(timer); timer = setTimeout(again, Math.min(30000, 1000 * 2 ** retry++)); }
  addEventListener("online", () => { retry = 0; clearTimeout(timer); again(); });
  // Who leaves gives back what was only prefetched; the item on screen and its draft stay theirs.
  addEventListener("pagehide", (event) => {
    save(); write(tab, null);
    if (event.persisted) return;
    const others = elsewhere(), free = ahead.filter((item) => !others.includes(item.assignment));
    write(SPACE + "released", { at: Date.now(), items: free.map((item) => item.assignment) });
    for (const item of free) call(`assignments/${item.assignment}/release/`, {}).catch(() => {});
  });
  addEventListener("beforeunload", (event) => { save(); if (outbox.length && sending) event.preventDefault(); });
  // What was answered in another tab is not asked here again.
  addEventListener("storage", (event) => {
    const entry = event.key?.startsWith(OUTBOX) && event.newValue ? JSON.parse(event.newValue) : null;
    if (!entry || entry.tried || entry.path === "undo") return;
    ahead = ahead.filter((item) => item.assignment !== entry.assignment);
    if (current?.assignment === entry.assignment) { leave(); notice("You answered the last one in another tab."); }
  });

  async function undo() {
    const latest = past[past.length - 1], waiting = latest && outbox.find((one) => one.body.key === latest.key);
    if (waiting && !waiting.tried) { settle(waiting); past.pop(); return back(latest.item, latest.answer, latest.path === "submit"); }
    // Perhaps the server has it, perhaps not: taking it back is an act of its own, sent after it.
    if (latest?.path === "submit") { past.pop(); put(latest.item.assignment, "undo", {}); back(latest.item, latest.answer, true); return send(); }
    if (outbox.length) return notice("The last answer is still being sent; undo works once it is there.");
    if (asking) return;
    asking = true;
    try {
      const { ok, data } = await call(`queues/${state.queue}/undo/`, { holding: held() });
      if (!ok) return notice(data?.title || "Nothing to take back.");
      past.pop();
      // What had been chosen before an item was skipped or flagged only this page knows.
      const kept = data.answer.kind !== "answer" && latest?.item.conversation.id === data.conversation.id && latest.item.turn === data.turn;
      back(data, kept ? latest.answer : { ...data.answer, confidence: data.answer.labels[0]?.confidence ?? undefined }, data.answer.kind === "answer");
    } catch { notice("Undo needs a connection."); } finally { asking = false; }
  }
  function back(item, given, counted) {
    save(); if (current) ahead = [current];  // what lies further ahead is given back; its draft stays
    if (counted) done = Math.max(0, done - 1);
    item.since = Date.now(); left += 1; ended = false; show(item, given); save();
  }

  // Leases are renewed when half of their time has gone, while somebody is there; a clock that was set counts as time gone.
  function renew() {
    if (document.hidden || performance.now() - lively > 4 * IDLE) return;
    for (const item of [current, ...ahead]) {
      if (!item || Math.abs(Date.now() - item.since) < LEASE / 2) continue;
      item.since = Date.now();
      call(`assignments/${item.assignment}/renew/`, {}).then(({ status }) => { if (status === 409) gone(item); }).catch(() => { item.since = 0; });
    }
  }
  function gone(item) {
    if (item === current) notice("Somebody else has this item by now; your answer is kept all the same.");
    else ahead = ahead.filter((one) => one !== item);
  }
  setInterval(renew, Math.min(30000, LEASE / 4));

  // As the list of one's queues says it.
  const span = (minutes) => (minutes < 60 ? `${minutes} minute${minutes === 1 ? "" : "s"}` : minutes < 60 * 48 ? `${Math.floor(minutes / 60)} h ${minutes % 60} min` : `${Math.round(minutes / 60)} hours`);
  function counts() {
    const minutes = state.pace && Math.round(state.pace * left / 60), waiting = outbox.length - (sending && retry === 0 ? 1 : 0);
    $("count").textContent = `${done} of ${done + left}${state.progress.more ? "+" : ""}`;
    $("bar").value = done + left ? done / (done + left) : 0;
    $("pace").textContent = !state.pace || !left || state.progress.more ? "" : minutes < 1 ? "less than a minute left at your pace" : span(minutes) + " left at your pace";
    $("sending").textContent = waiting > 0 ? `${waiting} answer${waiting === 1 ? " waits" : "s wait"} to be sent` : "";
  }

  // ---- reasons, comment, guideline, keys
  function ask(kind, then) { const dialog = $(kind + "-reasons"); dialog.querySelector("form").reset(); dialog.dataset.then = kind; dialog.then = then; dialog.showModal(); dialog.querySelector(".choices button").focus(); }
  for (const dialog of all(".reasons")) {
    const buttons = all(".choices button", dialog), note = dialog.querySelector("[name=note]");
    for (const button of buttons) button.addEventListener("click", () => { dialog.close(); dialog.then(button.value, note.value.trim()); });
    dialog.addEventListener("keydown", (event) => {
      const button = event.target === note ? event.key === "Enter" && buttons.at(-1) : buttons[Number(event.key) - 1];
      if (button) { event.preventDefault(); button.click(); }
    });
  }
  function aside(open) { $("aside").hidden = !open; $("commands").querySelector("[data-do=comment]").setAttribute("aria-expanded", String(open)); }
  function drawer(open, say) {
    $("guideline").hidden = !open; document.body.classList.toggle("with-guideline", open);
    $("commands").querySelector("[data-do=guideline]").setAttribute("aria-expanded", String(open));
    write(SPACE + "guideline", open); if (open && say) $("guideline").focus({ preventScroll: true });
  }
  // Until the drawer has the new version it was not read: labels say so, and the next item asks for it again.
  async function guidelines(signals) {
    try {
      const response = await fetch("guideline/?drawer");
      if (response.ok) { $("guideline-text").innerHTML = await response.text(); state.signals = signals; notice(`The guideline has a new version: ${keyName(keys.guideline)} shows it.`); }
    } catch { /* the page of its own has it */ }
  }
  // A key that chooses an answer of the question in focus does nothing else there, and no other badge says so.
  function badges() {
    const taken = new Set(views[focus].inputs.map((input) => input.dataset.key));
    for (const button of all("[data-do]")) {
      const badge = button.querySelector("kbd"), name = button.dataset.do;
      if (badge) badge.textContent = taken.has(keys[name]) ? (name === "skip" && !Object.values(keys).includes("ArrowRight") ? "→" : "") : keyName(keys[name]);
    }
    for (const badge of all("[data-key-of]")) badge.textContent = keyName(keys[badge.dataset.keyOf]);
  }
  async function remap(wanted) {
    try { const { ok, data } = await call("keymap/", wanted, "PUT"); if (ok) keys = data; $("sheet-state").textContent = ok ? "Saved." : data?.errors?.[0]?.message || data?.title || "Not saved."; } catch { $("sheet-state").textContent = "Not saved: there is no connection."; }
    badges();
  }
  for (const button of all("[data-change]")) {
    button.addEventListener("click", () => { button.textContent = "press a key"; });
    button.addEventListener("blur", () => { button.textContent = "change"; });
    button.addEventListener("keydown", (event) => {
      if (button.textContent === "change" || ["Shift", "Control", "Alt", "Meta"].includes(event.key)) return;
      event.preventDefault(); event.stopPropagation(); button.textContent = "change";
      if (event.key !== "Escape") remap({ ...keys, [button.dataset.change]: event.key });
    });
  }
  $("usual").addEventListener("click", () => remap(state.usual_keys));

  // ---- keys
  const typing = (node) => Boolean(node && (["TEXTAREA", "SELECT"].includes(node.tagName) || (node.tagName === "INPUT" && ["text", "number"].includes(node.type))));
  const voice = cxVoice($("player"), $("turns"));
  voice.audio.addEventListener("timeupdate", alive);
  $("turns").addEventListener("click", (event) => { const row = event.target.closest(".turn"); if (row && !String(getSelection())) moveTo([...$("turns").children].indexOf(row)); });
  const spent = () => answer().seconds;
  const DO = {
    undo, next_turn: () => moveTo(cursor + 1), previous_turn: () => moveTo(cursor - 1),
    skip: () => ask("skip", (reason, note) => act("skip", { reason: note ? `${reason}: ${note}` : reason, seconds: spent() }, answer())),
    flag: () => ask("flag", (reason, note) => act("flag", { reason, comment: note || $("comment").value, seconds: spent() }, answer())),
    comment: () => { aside(true); $("comment").focus(); },
    play: voice.play, back: voice.back, slower: voice.slower, faster: voice.faster, follow: voice.follow, play_turn: () => voice.turn($("turns").children[cursor]),
    reference: () => $("turns").classList.toggle("without-reference"), guideline: () => drawer($("guideline").hidden, true), help: () => $("sheet").showModal(),
  };
  const CALLS = ["play", "back", "slower", "faster", "follow", "play_turn"], ALWAYS = ["help", "guideline"];

  function filterKey(event, view) {
    const rows = fitting(view);
    if (/^Arrow(Up|Down)$/.test(event.key)) light(view, rows[(rows.indexOf(view.lit) + (event.key === "ArrowDown" ? 1 : -1) + rows.length) % rows.length]);
    else if (event.key !== "Enter") return false;
    else if (view.lit) { const input = view.lit.querySelector("input"); view.filter.value = ""; narrow(view); choose(view, input); reveal(view); } else next();
    event.preventDefault(); return true;
  }
  document.addEventListener("keydown", (event) => {
    const { target: node, key } = event, view = views[focus];
    if (event.defaultPrevented || event.isComposing || document.querySelector("dialog[open]")) return;
    const does = (act) => { event.preventDefault(); act(); };
    if ((event.ctrlKey || event.metaKey) && !event.altKey) { if (key === "Enter") does(next); else if (key === "z" && !typing(node)) does(undo); return; }
    if (event.altKey || (event.shiftKey && /^([a-z]|\w{2,})$/i.test(key))) return;
    if (key === "Escape") { if (typing(node)) node.blur(); else if ($("guideline").contains(node)) drawer(false); return; }
    const step = () => does(() => look((focus + (key === "ArrowDown" ? 1 : views.length - 1)) % views.length, true)), arrow = /^Arrow(Up|Down)$/.test(key);
    if (node === view.filter && filterKey(event, view)) return;
    // A number takes no letters: in its field the other keys do what they do elsewhere, ⌫ once it is empty.
    const beside = node === view.number && (key.length === 1 ? !/[\d.,+e-]/.test(key) : key === "Backspace" && !node.value && !node.validity.badInput);
    if (typing(node) && !beside) { if (node === view.number && key === "Enter") does(next); else if (node === view.number && arrow && views.length > 1) step(); return; }
    if (["BUTTON", "A", "SUMMARY"].includes(node.tagName) && (key === "Enter" || key === " ")) return;
    if ((node.type === "range" || node.name === "sure") && key !== "Enter") return;
    const name = Object.keys(keys).find((one) => keys[one] === key) || { ArrowRight: "skip" }[key];  // → skips too, unless it does something else
    if (event.repeat && !["next_turn", "previous_turn"].includes(name)) return;
    if (key === "Enter") return does(next);
    if (!current) { if (ALWAYS.includes(name) || (name === "undo" && ended)) does(DO[name]); return; }  // nobody answers an item they have not seen
    if (arrow) return step();
    if (view.number && /^[0-9.-]$/.test(key)) return view.number.focus();
    const choice = view.inputs.find((input) => input.dataset.key && input.dataset.key === key);
    if (choice) return does(() => choose(view, choice));
    if (key === " " && ["radio", "checkbox"].includes(node.type)) return;
    if (name && !(CALLS.includes(name) && $("player").hidden)) does(DO[name]);
  });

  $("panel").addEventListener("submit", (event) => { event.preventDefault(); next(); });
  $("panel").addEventListener("input", changed);
  for (const button of all("[data-do]")) button.addEventListener("click", (event) => { DO[button.dataset.do](); if (event.detail && !["comment", "guideline", "skip", "flag", "help"].includes(button.dataset.do)) button.blur(); });

  badges(); drawer(read(SPACE + "guideline", false), false); counts();
  // What this browser has just given back may still look held to a page that was asked for at the same moment.
  const given = read(SPACE + "released", { at: 0 }), fresh = Math.abs(Date.now() - given.at) < 5000 ? given.items : [];
  if (state.item && ![...outbox.map((one) => one.assignment), ...fresh].includes(state.item.assignment)) { state.item.since = Date.now(); show(state.item); } else advance();
  send();
})();
