(() => {
  const text = id => document.getElementById(id).textContent.trim();
  const chart = document.getElementById("chart");
  async function draw() {
    // The library is unpacked only now: it is large, and most readers come for the figures.
    const bytes = Uint8Array.from(atob(text("chart-library")), mark => mark.charCodeAt(0));
    const plain = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(plain).text();
    document.head.append(script);
    const figure = JSON.parse(text("chart-figure"));
    await Plotly.newPlot(chart, figure.data, figure.layout, {responsive: true, displaylogo: false,
      modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]]});
  }
  chart.closest("details").addEventListener("toggle", () => {
    draw().catch(error => { chart.textContent = "This browser cannot draw the chart: " + error; });
  }, {once: true});
})();
