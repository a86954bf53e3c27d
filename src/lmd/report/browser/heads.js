"use strict";
const heads = { circuit: 0, quantity: "spectral_norm" };
const headQuantities = [["spectral_norm", "σ₁"], ["stable_rank", "Stable rank"], ["effective_rank", "Effective rank"]];
const headCaptions = {
  spectral_norm: "how strongly the circuit's strongest direction acts",
  stable_rank: "how many directions as strong as the strongest carry it",
  effective_rank: "how many directions share it, by entropy",
};

// a place may be long: what all places share says nothing, and where places are alike but for one part, that part says all
function shortPlaces(places) {
  const split = places.map((place) => place.split("."));
  const same = (at) => split.length > 1 && split.every((parts) => parts.length > 1 && parts.at(at) === split[0].at(at));
  while (same(0)) split.forEach((parts) => parts.shift());
  while (same(-1)) split.forEach((parts) => parts.pop());
  const everywhere = (part) => split.length > 1 && split.every((parts) => parts.includes(part));
  const told = split.map((parts) => parts.filter((part) => !everywhere(part)).join("."));
  const names = new Set(told).size === told.length && !told.includes("") ? told : split.map((parts) => parts.join("."));
  return names.map((name) => name || "attention");
}

// the middle of a long name says least
function cutName(name) {
  return name.length > 26 ? name.slice(0, 12) + "…" + name.slice(-13) : name;
}

function headCell(index, k) {
  const finding = index === null || index === undefined || k < 0 ? null : atlas.layers[index].findings[k];
  if (!finding || typeof finding[0] !== "number") return [null, ""];
  const ratio = finding[1] > 0 ? finding[0] / finding[1] : null;
  const text = `<b>${plain(atlas.layers[index].name)}</b><br>${plain(atlas.keys[k].replaceAll("_", " "))} ${fmt(finding[0])}` + (ratio === null ? "" : `<br>random ${fmt(finding[1])}, ${fmt(ratio)}×`);
  return [ratio > 0 ? Math.max(-2, Math.min(2, Math.log2(ratio))) : null, text];
}

function drawHeads() {
  const grid = atlas.heads[heads.circuit];
  const k = atlas.keys.indexOf(heads.quantity);
  const cells = grid.rows.map((row) => row.map((index) => headCell(index, k)));
  const most = Math.max(...grid.rows.map((row) => row.length));
  const trace = {
    type: "heatmap", z: cells.map((row) => row.map((cell) => cell[0])), text: cells.map((row) => row.map((cell) => cell[1])),
    hovertemplate: "%{text}<extra></extra>", hoverongaps: false, xgap: 2, ygap: 2, colorscale: ramp(), zmin: -2, zmax: 2,
    colorbar: { tickvals: [-2, -1, 0, 1, 2], ticktext: ["≤ ¼×", "½×", "1×", "2×", "≥ 4×"], title: { text: "against random", side: "right" }, thickness: 10, outlinewidth: 0, tickfont: { size: 11 } },
  };
  const names = shortPlaces(grid.places).map((name) => plain(cutName(name)));
  const x = axis("head", { showgrid: false, tickmode: "linear", tick0: 0, dtick: Math.max(1, Math.ceil(most / 16)) });
  const y = axis("attention layer", { showgrid: false, autorange: "reversed", tickvals: names.map((_, i) => i), ticktext: names });
  const node = byId("heads-plot");
  node.style.height = Math.min(640, 110 + 30 * grid.rows.length) + "px";
  Plotly.react(node, [trace], layout(node, { xaxis: x, yaxis: y, plot_bgcolor: color("soft"), hovermode: "closest", showlegend: false, margin: { l: 56, r: 4, t: 8, b: 40 } }), plotOptions);
  node.removeAllListeners("plotly_click");
  node.on("plotly_click", (event) => { const [r, c] = event.points[0].pointIndex; openCard(grid.rows[r][c]); });
  byId("heads-caption").textContent = `${grid.title}. Each cell is a head; its colour compares ${headCaptions[heads.quantity]} with a product of two random factors of the same shapes and the same Frobenius norm (one seeded draw): orange is more than chance, blue less. A click opens the head.` + (atlas.asked ? ` Taken with ${atlas.asked}.` : "");
}

function startHeads() {
  if (!atlas.heads.length) return;
  byId("heads").hidden = false;
  const tools = byId("heads-tools");
  const pick = (name) => (value) => { heads[name] = value; drawHeads(); };
  if (atlas.heads.length > 1) tools.append(choice("circuit", atlas.heads.map((grid, i) => [i, grid.circuit.replace("_", "–")]), heads.circuit, pick("circuit")));
  tools.append(choice("quantity", headQuantities, heads.quantity, pick("quantity")));
  repaint.set(byId("heads-plot"), drawHeads);
  drawHeads();
}
