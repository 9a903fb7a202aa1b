// The upload's own progress; without a total the bar only moves.
"use strict";
document.addEventListener("htmx:xhr:progress", (event) => {
  const bar = document.getElementById("sent");
  if (event.target.id !== "bring" || !bar) return;
  if (event.detail.lengthComputable) bar.value = Math.round((event.detail.loaded / event.detail.total) * 100);
});
