// The upload's own progress (without a total the bar only moves), and how far a file is read while it is loaded.
"use strict";
document.addEventListener("htmx:xhr:progress", (event) => {
  const bar = document.getElementById("sent");
  if (event.target.id !== "bring" || !bar) return;
  if (event.detail.lengthComputable) bar.value = Math.round((event.detail.loaded / event.detail.total) * 100);
});

let asking;
document.addEventListener("htmx:beforeRequest", (event) => {
  const form = event.target.closest(".import-as");
  if (form && event.detail.requestConfig.path.endsWith("/load/")) asking = setInterval(ask, 1000, form);
});
document.addEventListener("htmx:afterRequest", (event) => { if (event.target.closest(".import-as")) clearInterval(asking); });

async function ask(form) {
  const told = form.querySelector("[data-progress]");
  const answer = await fetch(`${told.dataset.progress}?key=${encodeURIComponent(form.elements.key.value)}`).catch(() => null);
  if (answer?.status === 200) told.innerHTML = await answer.text();
}
