"use strict";
const signs = ["", "≈ ", "≤ ", "≥ "];
const sides = ["exact up to its error", "an estimate", "an upper bound: the true value is at most this", "a lower bound: the true value is at least this"];

function valueText(finding, drawn) {
  const value = finding[0];
  if (Array.isArray(value)) return drawn ? "see the figure" : `${value[0]} values, ${fmt(value[1])} … ${fmt(value[2])}`;
  if (value === null || value === undefined) return "–";
  const error = finding[2] ? ` ± ${fmtError(finding[2])}` : "";
  return signs[finding[3] || 0] + fmt(value) + error;
}

// a bar from the baseline, one sixth of the width per doubling
function ratioBar(value, baseline) {
  if (typeof value !== "number" || !(baseline > 0) || !(value > 0)) return "";
  const ratio = value / baseline;
  const length = Math.max(-50, Math.min(50, (Math.log2(ratio) * 50) / 3));
  const bar = Math.abs(ratio - 1) < 0.005 ? "" : el("u", { style: `left:${length < 0 ? 50 + length : 50}%;width:${Math.max(1, Math.abs(length))}%;background:var(--${length < 0 ? "less" : "more"})` });
  const text = el("em", { style: length < 0 ? "left:calc(50% + .4em)" : "right:calc(50% + .4em)" }, `${ratio >= 100 ? fmt(Math.round(ratio)) : Number(ratio.toPrecision(2))}×`);
  return el("span", {}, bar, text);
}

function findingRow(layer, finding, k) {
  const key = atlas.keys[k];
  const name = byId("y-" + key);
  const symbol = name ? Array.from(name.childNodes, (node) => node.cloneNode(true)) : [];
  const reason = atlas.reasons[finding[4] || 0];
  const baseline = Array.isArray(finding[1]) ? "in grey there" : fmt(finding[1]);
  return el("tr", {},
    el("td", {}, key.replaceAll("_", " "), symbol.length ? el("span", { class: "sym" }, ...symbol) : ""),
    el("td", { class: "num", title: sides[finding[3] || 0] }, valueText(finding, key in layer.curves)),
    el("td", { class: "num dim", title: "random matrix of the same shape and Frobenius norm" }, baseline),
    el("td", { class: "ratio" }, ratioBar(finding[0], finding[1])),
    el("td", {}, atlas.units[k] || "1"),
    el("td", { class: "meaning" }, atlas.meanings[k], reason ? el("span", { class: "dim" }, ` (${reason})`) : ""));
}

function findingsTable(layer) {
  const rows = layer.findings.map((finding, k) => (finding === 0 ? null : findingRow(layer, finding, k))).filter(Boolean);
  if (!rows.length) return el("p", { class: "dim" }, "No finding was made for this layer.");
  const heads = ["finding", "value", "random", "against random", "unit", "meaning"];
  return el("table", { class: "findings" }, el("thead", {}, el("tr", {}, ...heads.map((text, i) => el("th", { scope: "col", class: i === 1 || i === 2 ? "num" : null }, text)))), el("tbody", {}, ...rows));
}

const readings = {
  siblings: "Names and shapes allow several readings of this tensor, and the layers beside it decided",
  guess: "Names and shapes allow several readings of this tensor, and only a convention of naming decided",
};

function aboutText(layer) {
  const about = layer.about || {};
  const parts = [];
  if (layer.view_of) parts.push(`A part of ${layer.view_of}, whose parameters are counted there.`);
  if (about.note) parts.push(String(about.note) + (String(about.note).endsWith(".") ? "" : "."));
  const sure = readings[about.confidence];
  if (sure) parts.push(sure + (about.alternatives ? `; it could also be ${[].concat(about.alternatives).join(", ").replaceAll("_", " ")}.` : "."));
  if (layer.rounding) parts.push(layer.rounding);
  const checks = [];
  if (about.method) checks.push(`computed by ${about.method}`);
  if (layer.rank !== undefined) checks.push(`${layer.rank.toLocaleString("en")} triple${layer.rank === 1 ? "" : "s"} kept`);
  if (typeof about.residual === "number") checks.push(`residual ${fmtError(about.residual)}`);
  if (typeof about.orthogonality_defect === "number") checks.push(`orthogonality defect ${fmtError(about.orthogonality_defect)}`);
  if (checks.length) parts.push(checks.join(", ").replace(/^./, (c) => c.toUpperCase()) + ".");
  return parts.join(" ");
}

function fillCard(card, layer) {
  if (card.dataset.full) return;
  card.dataset.full = "1";
  const body = el("div", { class: "body" });
  card.append(body);
  if (layer.failed) return body.append(el("p", { class: "bad" }, layer.failed));
  if (layer.sentence) body.append(el("p", { class: "said" }, layer.sentence));
  const text = aboutText(layer);
  if (text) body.append(el("p", { class: "about" }, text));
  const pair = el("div", { class: "pair" });
  body.append(pair);
  const plots = [];
  for (const [key, drawing] of Object.entries(layer.curves)) {
    const figure = atlas.figures[key];
    const plot = el("div", { class: "plot", role: "img", "aria-label": `${figure.title} of ${layer.name}. ${figure.caption}` });
    pair.append(el("figure", {}, el("h3", {}, figure.title), plot, el("figcaption", {}, figure.caption)));
    plots.push(() => drawCurve(plot, key, drawing));
  }
  if (!layer.curves.spectrum) pair.append(el("p", { class: "dim" }, "The spectrum of this layer was not stored."));
  body.append(findingsTable(layer));
  plots.forEach((draw) => draw()); // only now are the widths final
}

const cards = atlas.layers.map((layer, i) => {
  const title = el("summary", {}, el("span", { class: "no" }, String(i + 1)), el("span", { class: "title" }, called(layer)),
    el("span", { class: "kind" }, (layer.kind || "layer").replaceAll("_", " ")), el("span", { class: "dim" }, layer.shape.map((n) => n.toLocaleString("en")).join(" × ") + " (out × in)"),
    ...(layer.words || []).map((word) => el("span", { class: "word" }, word)),
    layer.view_of ? el("span", { class: "dim" }, `part of ${layer.view_of}`) : "", layer.failed ? el("span", { class: "bad" }, "failed") : "");
  const card = el("details", { class: "card", id: "L" + i }, title);
  card.addEventListener("toggle", () => { if (card.open) fillCard(card, layer); });
  return card;
});

function openCard(i) {
  cards[i].hidden = false;
  cards[i].open = true;
  fillCard(cards[i], atlas.layers[i]);
  cards[i].scrollIntoView({ block: "start" });
  cards[i].querySelector("summary").focus({ preventScroll: true });
}

function startCards() {
  byId("cards").append(...cards);
  if (!cards.length) byId("cards").append(el("p", { class: "dim" }, "No layer was found, so there is nothing to open."));
  const open = cards.length <= 4 ? cards.length : 1;
  cards.slice(0, open).forEach((card, i) => { card.open = true; fillCard(card, atlas.layers[i]); });
}

// text of a cell as what it is sorted by: a shape by its entries, a number without sign of a bound
function sortValue(text, column) {
  const numbers = text.replaceAll(",", "").match(/[\d.]+(e[+-]?\d+)?/g);
  if (column === 1 || column === 2 || !numbers) return text;
  return column === 3 ? numbers.reduce((product, n) => product * Number(n), 1) : Number(numbers[0]);
}

function startTable() {
  const table = byId("overview");
  if (!table) return;
  const body = table.tBodies[0];
  const key = (row, c) => sortValue(row.cells[Math.min(c, row.cells.length - 1)]?.firstChild?.textContent ?? "", c);
  const compare = (a, b) => (typeof a === typeof b ? (a < b ? -1 : a > b ? 1 : 0) : typeof a === "number" ? -1 : 1);
  [...table.tHead.rows[0].cells].forEach((head, c) => head.querySelector("button").addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending";
    for (const one of table.tHead.rows[0].cells) one.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const rows = [...body.rows].map((row) => [key(row, c), row]).sort((a, b) => (down ? compare(b[0], a[0]) : compare(a[0], b[0])));
    body.append(...rows.map((pair) => pair[1]));
  }));
  const rows = [...body.rows];
  for (const link of body.querySelectorAll("a")) link.innerHTML = link.innerHTML.replaceAll(".", ".<wbr>");
  body.addEventListener("click", (event) => {
    const link = event.target.closest("a");
    if (link) { event.preventDefault(); openCard(Number(link.getAttribute("href").slice(2))); }
  });
  byId("filter").addEventListener("input", (event) => {
    const words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
    const fits = atlas.layers.map((layer) => words.every((word) => `${layer.name} ${layer.kind} ${(layer.words || []).join(" ")}`.toLowerCase().includes(word)));
    rows.forEach((row, i) => { row.hidden = !fits[i]; });
    cards.forEach((card, i) => { card.hidden = !fits[i]; });
    byId("shown").textContent = words.length ? `${fits.filter(Boolean).length} of ${fits.length} layers` : "";
  });
}
