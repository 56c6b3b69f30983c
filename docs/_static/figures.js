// Draws the figures of the notebooks with the plotly.js that lies beside this file, once one comes
// into view. Until then, and without a script, the table in its place is what shows.
//
// A kernel does not know whether a page is light or dark, so a stored figure has greys for both. A
// page does know: text takes its colours, and on a dark one lines take a brighter palette.
(() => {
  const home = new URL(".", document.currentScript.src);
  const GREY = /#797979/gi;
  const BRIGHTER = {
    "#0072B2": "#1B8AD6",
    "#D55E00": "#F0993E",
    "#009E73": "#34E3A3",
    "#CC79A7": "#D890B0",
    "#3D9BDC": "#9AD7FC",
    "#C21628": "#F5384F",
    "#847FFC": "#9F9CFF",
    "#7D5569": "#A37388",
  };
  const drawn = new Set();
  let library;

  function plotly() {
    library ??= new Promise((done, failed) => {
      const script = document.createElement("script");
      script.src = new URL("plotly.min.js", home).href;
      script.onload = () => done(window.Plotly);
      script.onerror = failed;
      document.head.append(script);
    });
    return library;
  }

  function coloured(stored) {
    const style = getComputedStyle(document.body);
    const text = style.getPropertyValue("--color-foreground-primary").trim();
    const quiet = style.getPropertyValue("--color-foreground-secondary").trim();
    const dark = style.getPropertyValue("--ornb-scheme").trim() === "dark";
    let figure = stored;
    if (dark) figure = figure.replace(/#[0-9a-f]{6}\b/gi, (c) => BRIGHTER[c.toUpperCase()] ?? c);
    const { data, layout } = JSON.parse(figure);
    if (!text || !quiet) return { data, layout };
    const mended = JSON.parse(JSON.stringify(layout).replace(GREY, quiet));
    const font = mended.template?.layout?.font;
    if (font?.color === quiet) font.color = text;
    return { data, layout: mended };
  }

  async function draw(place) {
    const Plotly = await plotly();
    const { data, layout } = coloured(place.dataset.figure);
    if (!drawn.has(place)) place.replaceChildren();
    drawn.add(place);
    Plotly.react(place, data, layout, { responsive: true, displaylogo: false });
  }

  const seen = new IntersectionObserver(
    (entries) => {
      for (const { isIntersecting, target } of entries) {
        if (isIntersecting) {
          seen.unobserve(target);
          draw(target);
        }
      }
    },
    { rootMargin: "200px" },
  );
  for (const place of document.querySelectorAll(".ornb-figure")) seen.observe(place);

  const again = () => drawn.forEach(draw);
  new MutationObserver(again).observe(document.body, { attributeFilter: ["data-theme"] });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
})();
