"use strict";
const plotOptions = { displayModeBar: false, responsive: true };

function axis(title, extra) {
  return Object.assign({
    title: { text: title, font: { size: 12 }, standoff: 8 }, gridcolor: color("line"), zeroline: false, linecolor: color("line"),
    ticks: "outside", tickcolor: color("line"), ticklen: 4, automargin: true, tickfont: { size: 11 }, exponentformat: "power",
  }, extra);
}

// paper has one width, and the browser tells it too late for plotly to measure
function layout(node, extra) {
  return Object.assign({
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", margin: { l: 54, r: 12, t: 28, b: 44 },
    font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: color("ink") }, showlegend: true,
    legend: { x: 1, y: 1.01, xanchor: "right", yanchor: "bottom", orientation: "h", bgcolor: "rgba(0,0,0,0)", font: { size: 11 } },
    hoverlabel: { bgcolor: color("panel"), bordercolor: color("line"), font: { color: color("ink"), size: 12 } },
    hovermode: "x unified", ...(root.classList.contains("paper") ? { width: node.clientWidth, height: node.clientHeight } : {}),
  }, extra);
}

// a layer's curve over its baseline
function curveTraces(drawing) {
  const few = drawing.x.length <= 24;
  const one = (name, key, tint, width) => ({ type: "scatter", mode: few ? "lines+markers" : "lines", name,
    x: drawing.x, y: drawing[key], line: { color: tint, width }, marker: { size: 5 } });
  const traces = [];
  if (drawing.baseline) traces.push(one("random", "baseline", color("baseline"), 1.6));
  traces.push(one("this layer", "value", color("value"), 2.4));
  if (drawing.floor) {
    const floor = one("rounding alone", "floor", color("edge"), 1.6);
    traces.push({ ...floor, mode: "lines", line: { ...floor.line, dash: "dot" } });
  }
  if (typeof drawing.edge === "number") {
    const ends = drawing.x.length > 1 ? [drawing.x[0], drawing.x[drawing.x.length - 1]] : [0.7, 1.5];
    traces.push({ type: "scatter", mode: "lines", name: "noise edge", x: ends, y: [drawing.edge, drawing.edge],
      line: { color: color("edge"), width: 1.3, dash: "dash" } });
  }
  for (const trace of traces) trace.hovertemplate = "%{y:.4g}";
  return traces;
}

// when the first value dwarfs the middle one, only a logarithm shows both
function needsLog(drawing) {
  const values = drawing.value.filter((v) => v > 0);
  return values.length > 4 && values[0] > 25 * values[values.length >> 1];
}

const steps = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000];
const logTicks = (most) => { const tickvals = steps.filter((v) => v <= most); return { tickvals, ticktext: tickvals.map((v) => v.toLocaleString("en")) }; };

function drawCurve(node, key, drawing) {
  const figure = atlas.figures[key];
  const draw = () => {
    const log = figure.log.includes("y") || (key === "spectrum" && needsLog(drawing));
    const floor = Math.max(...drawing.value) * 1e-4;
    const y = axis(figure.y, log ? { type: "log", dtick: 1, range: [Math.log10(floor), Math.log10(floor * 1.6e4)] } : { rangemode: "tozero" });
    const x = axis(figure.x, figure.log.includes("x") && drawing.x.length > 1 ? Object.assign({ type: "log" }, logTicks(drawing.x[drawing.x.length - 1])) : {});
    if (drawing.x.length === 1) Object.assign(x, { tickvals: drawing.x });
    Plotly.react(node, curveTraces(drawing), layout(node, { xaxis: x, yaxis: y }), plotOptions);
  };
  repaint.set(node, draw);
  draw();
}

const depth = { scale: "largest", rows: "index", order: "depth", views: false, diagonals: false };

// the value of a curve at a fractional index, straight between the points kept
function at(drawing, key, index) {
  const { x } = drawing;
  if (!drawing[key] || index > x[x.length - 1] + 1e-9 || index < x[0]) return null;
  let hi = x.findIndex((one) => one >= index - 1e-9);
  const lo = Math.max(0, hi - 1);
  const t = x[hi] === x[lo] ? 0 : (index - x[lo]) / (x[hi] - x[lo]);
  const [a, b] = [drawing[key][lo], drawing[key][hi]];
  return a === null || b === null ? null : a + t * (b - a);
}

function depthRows(columns) {
  if (depth.rows === "share") return Array.from({ length: 50 }, (_, j) => (j + 0.5) / 50);
  const most = Math.max(1, ...columns.map((i) => { const x = atlas.layers[i].curves.spectrum.x; return x[x.length - 1]; }));
  if (most <= 40) return Array.from({ length: most }, (_, j) => j + 1);
  const rows = Array.from({ length: 64 }, (_, j) => Math.round(most ** (j / 63)));
  return [...new Set(rows)];
}

function depthCell(drawing, row) {
  const last = drawing.of || drawing.x[drawing.x.length - 1];
  const index = depth.rows === "share" ? 1 + row * (last - 1) : row;
  const value = at(drawing, "value", index);
  const baseline = at(drawing, "baseline", index);
  if (value === null) return [null, ""];
  const shown = depth.scale === "random"
    ? (baseline > 0 && value > 0 ? Math.max(-2, Math.min(2, Math.log2(value / baseline))) : null)
    : (drawing.value[0] > 0 ? Math.log10(Math.max(value / drawing.value[0], 1e-9)) : null);
  return [shown, `σ<sub>${Math.round(index)}</sub> = ${fmt(value)}<br>random: ${fmt(baseline)}`];
}

function depthTicks(rows) {
  if (depth.rows === "share") return { tickvals: [0, 12, 25, 37, 49], ticktext: ["0 %", "25 %", "50 %", "75 %", "100 %"] };
  const wanted = steps.filter((v) => v <= rows[rows.length - 1]);
  const nearest = (v) => rows.reduce((best, row, j) => (Math.abs(row - v) < Math.abs(rows[best] - v) ? j : best), 0);
  const apart = wanted.filter((v, t) => t === 0 || nearest(v) - nearest(wanted[t - 1]) > rows.length / 24);
  return { tickvals: apart.map(nearest), ticktext: apart.map(String) };
}

// where the colours end: most cells differ by less than a thousand
function lowest(cells) {
  const seen = cells.flat().map((cell) => cell[0]).filter((v) => v !== null).sort((a, b) => a - b);
  return Math.max(-3, Math.min(-0.6, seen[Math.floor(seen.length * 0.04)] ?? -3));
}

function shareTicks(low) {
  const shares = [1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001].filter((v) => Math.log10(v) > low + 0.12);
  const floor = Number((10 ** low).toPrecision(1));
  return { tickvals: [...shares.map(Math.log10), low], ticktext: [...shares.map(String), "≤ " + floor] };
}

const captions = {
  largest: "Each column is a layer, input on the left, output on the right; from top to bottom its singular values, strongest first, relative to the largest of that layer. A column that darkens early rests on few directions; one that stays bright to the bottom uses all of them alike.",
  random: "Each column is a layer, input on the left, output on the right; each cell compares a singular value with that of a random matrix of the same shape and Frobenius norm (the baseline): orange is stronger than chance, blue weaker, pale the same; a column ends where its rank does, and layers without a baseline stay empty.",
};

function depthColumns() {
  const columns = atlas.layers.map((_, i) => i).filter((i) => atlas.layers[i].curves.spectrum
    && (depth.views || !atlas.layers[i].view_of) && (depth.diagonals || atlas.layers[i].kind !== "diagonal"));
  const kinds = [...new Set(columns.map((i) => atlas.layers[i].kind))];
  return depth.order === "depth" ? columns : kinds.flatMap((kind) => columns.filter((i) => atlas.layers[i].kind === kind));
}

// names when there is room, else numbers; in the order by kind, the kind under its columns
function depthNames(columns) {
  const mark = (layer) => (layer.kind === "diagonal" ? "◇ " : layer.view_of ? "› " : "");
  const shorten = (text) => (text.length > 22 ? "…" + text.slice(-21) : text);
  const places = columns.map((_, c) => c);
  if (columns.length <= Math.max(4, Math.floor(byId("depth-plot").clientWidth / 95))) {
    return ["", { tickvals: places, ticktext: columns.map((i) => mark(atlas.layers[i]) + plain(shorten(called(atlas.layers[i])))) }];
  }
  if (depth.order === "kind") {
    const kinds = [...new Set(columns.map((i) => atlas.layers[i].kind))];
    const middle = (kind) => { const own = places.filter((c) => atlas.layers[columns[c]].kind === kind); return (own[0] + own[own.length - 1]) / 2; };
    return ["kind, each in depth order", { tickvals: kinds.map(middle), ticktext: kinds.map((kind) => plain(kind.replaceAll("_", " "))) }];
  }
  const step = Math.ceil(columns.length / Math.min(14, byId("depth-plot").clientWidth / 60));
  const some = places.filter((c) => c % step === 0);
  return ["number of the layer", { tickvals: some, ticktext: some.map((c) => String(columns[c] + 1)) }];
}

function kindBorders(columns) {
  if (depth.order !== "kind") return [];
  const borders = columns.map((_, c) => c).filter((c) => c > 0 && atlas.layers[columns[c]].kind !== atlas.layers[columns[c - 1]].kind);
  return borders.map((c) => ({ type: "line", x0: c - 0.5, x1: c - 0.5, y0: 0, y1: 1, yref: "paper", line: { color: color("bg"), width: 4 } }));
}

function drawDepth() {
  const columns = depthColumns();
  const rows = depthRows(columns);
  const cells = rows.map((row) => columns.map((i) => depthCell(atlas.layers[i].curves.spectrum, row)));
  const random = depth.scale === "random";
  const low = random ? -2 : lowest(cells);
  const trace = {
    type: "heatmap", z: cells.map((line) => line.map((cell) => cell[0])), xgap: columns.length < 80 ? 2 : 0, hoverongaps: false,
    text: cells.map((line) => line.map((cell, c) => `<b>${plain(called(atlas.layers[columns[c]]))}</b><br>${atlas.layers[columns[c]].kind} ${atlas.layers[columns[c]].shape.join(" × ")}<br>${cell[1]}`)),
    hovertemplate: "%{text}<extra></extra>", colorscale: random ? ramp() : "Cividis", zmin: low, zmax: random ? 2 : 0,
    colorbar: random
      ? { tickvals: [-2, -1, 0, 1, 2], ticktext: ["≤ ¼×", "½×", "1×", "2×", "≥ 4×"], title: { text: "σ / random", side: "right" } }
      : { ...shareTicks(low), title: { text: "σ / σ<sub>1</sub>", side: "right" } },
  };
  Object.assign(trace.colorbar, { thickness: 10, outlinewidth: 0, tickfont: { size: 11 } });
  const [title, names] = depthNames(columns);
  const x = axis(title, { showgrid: false, ...names });
  const y = axis(depth.rows === "share" ? "position in the spectrum (share of the rank)" : "singular index i",
    Object.assign({ autorange: "reversed", showgrid: false }, depthTicks(rows)));
  Plotly.react("depth-plot", [trace], layout(byId("depth-plot"), { xaxis: x, yaxis: y, plot_bgcolor: color("soft"), hovermode: "closest", showlegend: false, shapes: kindBorders(columns), margin: { l: 56, r: 4, t: 8, b: 40 } }), plotOptions);
  const node = byId("depth-plot");
  node.removeAllListeners("plotly_click");
  node.on("plotly_click", (event) => openCard(columns[event.points[0].pointIndex[1]]));
  byId("depth-caption").textContent = captions[depth.scale] + (columns.length ? " A click on a column opens its layer." : " No layer is chosen.");
}

function startDepth() {
  const drawn = atlas.layers.filter((layer) => layer.curves.spectrum);
  if (!drawn.length) return;
  byId("depth").hidden = false;
  const whole = drawn.filter((layer) => !layer.view_of && layer.kind !== "diagonal");
  depth.views = depth.diagonals = !whole.length;
  const tools = byId("depth-tools");
  const pick = (name) => (value) => { depth[name] = value; drawDepth(); };
  tools.append(choice("colour", [["largest", "Relative to the largest"], ["random", "Against random"]], depth.scale, pick("scale")),
    choice("rows", [["index", "By index"], ["share", "By share of the rank"]], depth.rows, pick("rows")));
  if (new Set(drawn.map((layer) => layer.kind)).size > 1) tools.append(choice("order", [["depth", "In depth order"], ["kind", "Kind by kind"]], depth.order, pick("order")));
  if (drawn.some((layer) => layer.view_of)) tools.append(checkbox("parts of layers ›", depth.views, pick("views")));
  if (drawn.some((layer) => layer.kind === "diagonal")) tools.append(checkbox("diagonal maps ◇", depth.diagonals, pick("diagonals")));
  repaint.set(byId("depth-plot"), drawDepth);
  drawDepth();
}
