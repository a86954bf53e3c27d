"use strict";
const atlas = JSON.parse(document.getElementById("atlas").textContent);
for (const layer of atlas.layers) for (const drawing of Object.values(layer.curves)) drawing.x = atlas.indices[drawing.x];
const root = document.documentElement;
const byId = (id) => document.getElementById(id);
const repaint = new Map(); // element -> function that draws it again in the present theme

function el(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return node;
}

// four significant digits, and no exponent where none is needed
function fmt(x) {
  if (x === null || x === undefined || typeof x !== "number") return "–";
  const size = Math.abs(x);
  if (x === 0) return "0";
  if (Number.isInteger(x) && size < 1e9) return x.toLocaleString("en");
  if (size >= 1e9 || size < 1e-3) return x.toExponential(3);
  return size >= 1e4 ? Math.round(x).toLocaleString("en") : String(Number(x.toPrecision(4)));
}
const fmtError = (x) => (x < 1e-3 ? x.toExponential(0) : String(Number(x.toPrecision(2))));
const color = (name) => getComputedStyle(root).getPropertyValue("--" + name).trim();
const isDark = () => root.dataset.theme === "dark";
const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

function setTheme(name) {
  root.dataset.theme = name;
  for (const draw of repaint.values()) draw();
}

function startTheme() {
  const asked = (location.search + location.hash).match(/\b(dark|light)\b/);
  const system = matchMedia("(prefers-color-scheme: dark)");
  let chosen = asked !== null;
  root.dataset.theme = asked ? asked[1] : system.matches ? "dark" : "light";
  system.addEventListener("change", () => chosen || setTheme(system.matches ? "dark" : "light"));
  byId("theme").addEventListener("click", () => {
    chosen = true;
    setTheme(isDark() ? "light" : "dark");
  });
}

// buttons of which one is pressed: [[value, label], ...]
function choice(label, options, pressed, choose) {
  const buttons = options.map(([value, text]) =>
    el("button", { type: "button", "aria-pressed": String(value === pressed), onclick: () => press(value) }, text));
  const press = (value) => {
    options.forEach(([one], i) => buttons[i].setAttribute("aria-pressed", String(one === value)));
    choose(value);
  };
  return el("span", { class: "group", role: "group", "aria-label": label }, ...buttons);
}

function checkbox(label, checked, change) {
  const box = el("input", { type: "checkbox", onchange: () => change(box.checked) });
  box.checked = checked;
  return el("label", {}, box, " ", label);
}

// numbers from -1 to 1 to a colour: blue below, nothing at zero, orange above
function diverging(t) {
  const ends = isDark() ? [[86, 160, 235], [27, 31, 37], [244, 157, 74]] : [[26, 95, 166], [250, 249, 246], [184, 86, 15]];
  const [from, to] = [ends[1], ends[t < 0 ? 0 : 2]];
  const s = Math.min(1, Math.abs(t)) ** 0.85;
  return from.map((c, i) => Math.round(c + s * (to[i] - c)));
}
// torch calls the parts of a sequence by number alone
const called = (layer) => (/^\d+$/.test(layer.name) ? "layer " : "") + layer.name;
const spanText = ([first, last]) => (first === last ? String(first) : `${first}–${last}`);
const rgb = (c) => "rgb(" + c.join(",") + ")";
const ramp = () => [-1, -0.5, 0, 0.5, 1].map((t) => [(t + 1) / 2, rgb(diverging(t))]);
