// Brings the drawn charts to life: numbers under the pointer, an axis that can be dragged. The library (static/vendor/vega) is
// fetched from this host when the first chart comes near the screen; without scripts the drawing stays as it is.
(() => {
  "use strict";
  const library = document.currentScript.dataset.library;
  let loading = null;

  async function enliven(figure) {
    const spec = JSON.parse(figure.querySelector("script[type='application/json']").textContent);
    loading = loading || import(library);
    await loading;
    const drawing = figure.querySelector(".picture");
    const live = drawing.cloneNode(false);
    live.classList.add("live");
    live.style.minHeight = `${drawing.offsetHeight}px`;
    drawing.after(live);
    try {
      await window.vegaEmbed(live, spec, { renderer: "svg", actions: false, config: { aria: false }, tooltip: { theme: "page" } });
      live.querySelector("svg").setAttribute("aria-hidden", "true"); // the figure has its name, the table its numbers
      drawing.remove();
      live.style.minHeight = "";
    } catch (problem) {
      live.remove();
      console.error("the chart stays a drawing:", problem);
    }
  }

  const near = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) { near.unobserve(entry.target); enliven(entry.target); }
  }, { rootMargin: "200px" });
  const watch = (part) => part.querySelectorAll("figure.chart").forEach((figure) => near.observe(figure));
  watch(document);
  document.addEventListener("htmx:load", (event) => watch(event.detail.elt.parentNode || document));
})();
