// A button that prints the page it stands on; the style sheet leaves out what paper has no use for.
for (const button of document.querySelectorAll("[data-print]")) button.addEventListener("click", () => window.print());
