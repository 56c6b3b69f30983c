// Draws the figures of the notebooks with the plotly.js that lies beside this file, once one comes
// into view. Until then, and without a script, the table in its place is what shows.
(() => {
  const home = new URL(".", document.currentScript.src);
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

  async function draw(place) {
    const { data, layout } = JSON.parse(place.dataset.figure);
    const Plotly = await plotly();
    place.replaceChildren();
    Plotly.newPlot(place, data, layout, { responsive: true, displaylogo: false });
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
})();
