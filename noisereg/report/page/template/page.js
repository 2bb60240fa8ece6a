for (const chart of document.querySelectorAll(".chart")) {
  const specification = JSON.parse(document.getElementById(chart.dataset.specification).textContent);
  vegaEmbed(chart, specification, { renderer: "svg", actions: { export: true, source: false, compiled: false, editor: false } })
    .then(() => { chart.dataset.drawn = "yes"; })
    .catch((error) => { chart.textContent = `The figure cannot be drawn: ${error.message}`; });
}
