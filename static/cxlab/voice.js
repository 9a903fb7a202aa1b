// The player of a call: marks who is speaking, follows them until the reader scrolls, plays one turn, keeps the speed.
// Works on rows of a transcript with data-start and data-end, in seconds of the recording; one recording has one clock,
// so two speakers on two channels stay in step however long they talk.
"use strict";
window.cxVoice = (player, list) => {
  const part = (name) => player.querySelector(`[data-voice=${name}]`);
  const audio = part("audio"), speed = part("speed"), seekbar = part("seek"), parts = part("parts");
  const clock = (s) => String(Math.floor(s / 60)).padStart(2, "0") + ":" + String(Math.floor(s % 60)).padStart(2, "0");
  let spans = [];          // {row, from, to, reach} by start; reach is the latest end so far, so that overlaps are found
  let marked = new Set();  // rows that are being spoken
  let cursor = null, stop = Infinity, follows = true, moved = 0;

  // Reads the rows; to be called when the transcript has changed.
  function load(source) {
    audio.pause();
    if (source) audio.src = source; else if (source === null) audio.removeAttribute("src");
    player.hidden = !audio.hasAttribute("src");
    spans = [...list.children].filter((row) => row.dataset.start).map((row) => ({ row, from: Number(row.dataset.start), to: row.dataset.end ? Number(row.dataset.end) : null })).sort((one, other) => one.from - other.from);
    let reach = 0;
    spans.forEach((span, at) => { span.to ??= spans[at + 1]?.from ?? Infinity; span.reach = reach = Math.max(reach, span.to === Infinity ? span.from : span.to); });
    marked = new Set(); cursor = null; stop = Infinity; follow(true);
    seekbar.max = reach || 1; seekbar.value = 0; part("clock").textContent = clock(0);
    parts.style.setProperty("--heard", "0%");
    parts.replaceChildren(...(player.hidden ? [] : spans).map(({ row, from, to }) => {
      const bar = document.createElement("i");
      if (row.classList.contains("customer")) bar.className = "customer";
      bar.style.left = 100 * from / reach + "%"; bar.style.width = 100 * Math.max(0.3, Math.min(to, reach) - from) / reach + "%";
      return bar;
    }));
  }

  // Everybody who speaks at a moment; in a pause the one who spoke last.
  function speaking(at) {
    let low = 0, high = spans.length;
    while (low < high) { const middle = (low + high) >> 1; if (spans[middle].from <= at + 0.05) low = middle + 1; else high = middle; }
    const rows = new Set();
    for (let place = low - 1; place >= 0 && (spans[place].reach > at || place === low - 1); place--) if (spans[place].to > at || place === low - 1) rows.add(spans[place].row);
    return rows;
  }

  function heard() {
    if (audio.error) return;  // what cannot be played says so, and marks nobody
    const at = audio.currentTime, rows = speaking(at);
    // A turn that was played ends inside itself: the mark stays on it, and it can be played again.
    if (at >= stop) { audio.pause(); audio.currentTime = Math.max(0, stop - 0.06); stop = Infinity; return; }
    part("clock").textContent = clock(at); seekbar.value = at; parts.style.setProperty("--heard", 100 * at / Number(seekbar.max) + "%");
    const fresh = [...rows].filter((row) => !marked.has(row));
    for (const row of marked) if (!rows.has(row)) row.classList.remove("spoken");
    for (const row of fresh) row.classList.add("spoken");
    marked = rows;
    if (fresh.length && follows && !audio.paused) reveal();
  }
  function reveal() { moved = performance.now(); [...marked].pop()?.scrollIntoView({ block: "nearest" }); }
  function follow(on) { follows = on; const button = part("follow"); button.setAttribute("aria-pressed", String(on)); if (on && !audio.paused) reveal(); }
  function frame() { if (audio.paused) return; heard(); requestAnimationFrame(frame); }

  function seek(to) { stop = Infinity; audio.currentTime = Math.max(0, to); heard(); }
  function play() { if (player.hidden) return; stop = Infinity; if (audio.paused) start(); else audio.pause(); }
  function start() { audio.play().catch((error) => { if (error.name !== "AbortError") failed(); }); }
  function turn(row) {
    const span = spans.find((one) => one.row === (row || cursor)) || spans.find((one) => marked.has(one.row)) || spans[0];
    if (!span || player.hidden) return;
    follow(true); seek(span.from); stop = span.to; start();
  }
  function pace(by) { speed.selectedIndex = Math.max(0, Math.min(speed.options.length - 1, speed.selectedIndex + by)); paced(); }
  function paced() { audio.playbackRate = audio.defaultPlaybackRate = Number(speed.value); try { localStorage.setItem("cxlab:speed", speed.value); } catch { /* kept for this page only */ } }
  function failed() { part("clock").textContent = "cannot be played"; for (const row of marked) row.classList.remove("spoken"); marked = new Set(); }

  audio.addEventListener("timeupdate", heard);
  audio.addEventListener("error", () => { if (audio.hasAttribute("src")) failed(); });
  audio.addEventListener("loadedmetadata", () => { if (Number.isFinite(audio.duration)) seekbar.max = Math.max(audio.duration, Number(seekbar.max)); });
  for (const kind of ["play", "pause", "ended"]) audio.addEventListener(kind, () => { part("play").textContent = audio.paused ? "▶" : "❚❚"; part("play").setAttribute("aria-label", audio.paused ? "Play" : "Pause"); frame(); });
  // What the reader scrolls while it plays is theirs to look at; what the marked turn scrolled is not their doing.
  document.addEventListener("scroll", (event) => { if (!audio.paused && performance.now() - moved > 200 && event.target.contains(list)) follow(false); }, { capture: true, passive: true });
  seekbar.addEventListener("input", () => seek(Number(seekbar.value)));
  speed.addEventListener("change", () => { paced(); speed.blur(); });
  const does = { play, back: () => seek(audio.currentTime - 1), turn: () => turn(), follow: () => follow(!follows) };
  for (const [name, act] of Object.entries(does)) part(name).addEventListener("click", (event) => { act(); if (event.detail) part(name).blur(); });
  list.addEventListener("click", (event) => {
    const row = event.target.closest(".turn");
    if (!row || event.target.closest("button, a") || String(getSelection())) return;
    cursor = row;
    if (!player.hidden && row.dataset.start) { follow(true); seek(Number(row.dataset.start)); }
  });
  try { const kept = localStorage.getItem("cxlab:speed"); if ([...speed.options].some((one) => one.value === kept)) speed.value = kept; } catch { /* no store */ }
  paced(); load();
  return { audio, load, play, seek, turn, follow: does.follow, back: does.back, slower: () => pace(-1), faster: () => pace(1) };
};
// Pages other than the desk have nothing to do but start it.
for (const player of document.querySelectorAll("[data-player-for]")) player.voice = window.cxVoice(player, document.getElementById(player.dataset.playerFor));
