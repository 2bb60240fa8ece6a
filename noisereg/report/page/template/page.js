// Panels stand in as many columns as the window has room for: a specification has them in rows of the widest page.
const PANEL = 340, AXIS = 62, BAR_CHART = 72, COLUMNS = 3;

function fitted(specification, width) {
  const columns = Math.max(1, Math.floor(width / PANEL));
  const isNarrow = width < 2 * PANEL, room = width - AXIS;
  const fit = (panel) => {
    if (panel.facet) return { ...panel, columns: Math.max(1, Math.min(panel.columns, Math.floor(width / BAR_CHART))) };
    return typeof panel.width === "number" ? { ...panel, width: Math.min(panel.width, room) } : panel;
  };
  const rows = specification.vconcat.map(({ hconcat, ...row }) => ({ ...row, columns, concat: hconcat.map(fit) }));
  if (!isNarrow) return { ...specification, vconcat: rows };
  const config = { ...specification.config, title: { ...specification.config.title, limit: room } };
  const narrow = JSON.stringify({ ...specification, config, vconcat: rows });
  return JSON.parse(narrow, (key, value) => (key === "legend" && value ? { ...value, columns: COLUMNS } : value));
}

function draw(chart) {
  const specification = JSON.parse(document.getElementById(chart.dataset.specification).textContent);
  const style = getComputedStyle(chart);
  const width = chart.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
  const columns = Math.floor(width / PANEL);
  if (chart.dataset.columns === String(columns) && columns > 1) return;
  chart.dataset.columns = columns;
  vegaEmbed(chart, fitted(specification, width), {
    renderer: "svg", actions: { export: true, source: false, compiled: false, editor: false },
  })
    .then(() => { chart.dataset.drawn = "yes"; })
    .catch((error) => { chart.textContent = `The figure cannot be drawn: ${error.message}`; });
}

const charts = [...document.querySelectorAll(".chart")];
let waiting, drawnAt = window.innerWidth;
charts.forEach(draw);
window.addEventListener("resize", () => {
  if (window.innerWidth === drawnAt) return; // a phone's bars come and go
  drawnAt = window.innerWidth;
  clearTimeout(waiting);
  waiting = setTimeout(() => charts.forEach(draw), 200);
});
