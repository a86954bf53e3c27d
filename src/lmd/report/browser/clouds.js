"use strict";
const tints = {
  light: ["#0072b2", "#d98e00", "#009e73", "#c2559b", "#56a9dd", "#cc4c02", "#4b3fae", "#8f8b1e", "#8b1e54", "#7a7a7a"],
  dark: ["#4ba3e3", "#f0b03a", "#2fc799", "#e58fc4", "#8fd0f7", "#f47f3f", "#9b90ff", "#c9c558", "#d8628f", "#b0b0b0"],
};
const view = { turn: false, yaw: 0.7, pitch: 0.45, only: null, first: 0, width: 4 };
const tint = (index) => tints[isDark() ? "dark" : "light"][index % 10];

function project(cloud) {
  const n = cloud.points.length / 3;
  const p = cloud.points;
  const [cy, sy, cp, sp] = [Math.cos(view.yaw), Math.sin(view.yaw), Math.cos(view.pitch), Math.sin(view.pitch)];
  const middle = cloud.middle;
  const out = new Float64Array(3 * n);
  for (let i = 0; i < n; i++) {
    const [x, y, z] = [p[3 * i] - middle[0], p[3 * i + 1] - middle[1], p[3 * i + 2] - middle[2]];
    if (!view.turn) out.set([x, y, 0], 3 * i);
    else out.set([cy * x + sy * z, cp * y - sp * (cy * z - sy * x), sp * y + cp * (cy * z - sy * x)], 3 * i);
  }
  return out;
}

function measure(cloud) {
  const [low, high] = [[1e9, 1e9, 1e9], [-1e9, -1e9, -1e9]];
  cloud.points.forEach((v, i) => { low[i % 3] = Math.min(low[i % 3], v); high[i % 3] = Math.max(high[i % 3], v); });
  cloud.middle = low.map((v, a) => (v + high[a]) / 2);
  const half = low.map((v, a) => (high[a] - v) / 2);
  cloud.flat = Math.max(half[0], half[1], 1);
  let far = 1;
  for (let i = 0; i < cloud.points.length; i += 3) far = Math.max(far, Math.hypot(...cloud.middle.map((m, a) => cloud.points[i + a] - m)));
  cloud.round = 0.92 * far;
}

function drawAxes(context, cloud, size, scale) {
  context.strokeStyle = color("line");
  context.fillStyle = color("dim");
  context.lineWidth = 1;
  context.font = "12px " + getComputedStyle(document.body).fontFamily;
  const names = ["v₁", "v₂", "v₃"];
  if (!view.turn) {
    const zero = [size / 2 - cloud.middle[0] * scale, size / 2 + cloud.middle[1] * scale];
    context.beginPath();
    context.moveTo(zero[0], 0); context.lineTo(zero[0], size); context.moveTo(0, zero[1]); context.lineTo(size, zero[1]);
    context.stroke();
    const side = (pixel, axis, sign) => fmt(Number(((cloud.middle[axis] + sign * (pixel - size / 2) / scale) * cloud.unit).toPrecision(2)));
    context.textAlign = "left"; context.fillText(side(8, 0, 1), 8, size - 8);
    context.textAlign = "right"; context.fillText(`${side(size - 8, 0, 1)}   v₁ →`, size - 8, size - 8);
    context.textAlign = "left"; context.fillText(`↑ v₂   ${side(12, 1, -1)}`, 8, 16);
    return;
  }
  context.strokeStyle = color("baseline");
  const reach = cloud.round * 0.6;
  const [cy, sy, cp, sp] = [Math.cos(view.yaw), Math.sin(view.yaw), Math.cos(view.pitch), Math.sin(view.pitch)];
  [[cy, sp * sy], [0, cp], [sy, -sp * cy]].forEach(([x, y], a) => {
    const end = [size / 2 + x * reach * scale * 1.6, size / 2 - y * reach * scale * 1.6];
    context.beginPath(); context.moveTo(size / 2, size / 2); context.lineTo(...end); context.stroke();
    context.textAlign = "center"; context.fillText(names[a], ...end);
  });
}

function drawCloud(cloud) {
  const canvas = cloud.canvas;
  const size = canvas.clientWidth;
  if (!size) return;
  const dense = devicePixelRatio || 1;
  if (canvas.width !== Math.round(size * dense)) canvas.width = canvas.height = Math.round(size * dense);
  const context = canvas.getContext("2d");
  context.setTransform(dense, 0, 0, dense, 0, 0);
  context.clearRect(0, 0, size, size);
  const scale = (0.45 * size) / (view.turn ? cloud.round : cloud.flat);
  drawAxes(context, cloud, size, scale);
  const flat = project(cloud);
  const n = flat.length / 3;
  const order = Array.from({ length: n }, (_, i) => i);
  if (view.turn) order.sort((a, b) => flat[3 * b + 2] - flat[3 * a + 2]);
  cloud.screen = new Float64Array(2 * n);
  const radius = Math.max(1.5, Math.min(3.4, size / (n > 900 ? 190 : 120)));
  for (const i of order) {
    const [x, y] = [size / 2 + flat[3 * i] * scale, size / 2 - flat[3 * i + 1] * scale];
    cloud.screen.set([x, y], 2 * i);
    const kind = cloud.classes.length ? cloud.classes[i] : 0;
    const faded = view.only !== null && view.only !== kind;
    context.globalAlpha = faded ? 0.07 : 0.72;
    context.fillStyle = tint(kind);
    const near = view.turn ? 1 - 0.35 * flat[3 * i + 2] / cloud.round : 1;
    context.beginPath(); context.arc(x, y, Math.max(0.8, radius * near), 0, 7); context.fill();
  }
  context.globalAlpha = 1;
  drawNames(context, cloud);
}

// the class name at the middle of its points, so that colour is never the only sign
function drawNames(context, cloud) {
  if (!cloud.classes.length || cloud.names.length > 20) return;
  context.font = "600 15px " + getComputedStyle(document.body).fontFamily;
  context.textAlign = "center"; context.textBaseline = "middle"; context.lineJoin = "round";
  cloud.names.forEach((name, kind) => {
    if (view.only !== null && view.only !== kind) return;
    let [x, y, n] = [0, 0, 0];
    cloud.classes.forEach((one, i) => { if (one === kind) { x += cloud.screen[2 * i]; y += cloud.screen[2 * i + 1]; n++; } });
    if (!n) return;
    context.lineWidth = 4; context.strokeStyle = color("panel"); context.strokeText(name === -1 ? "none" : name, x / n, y / n);
    context.fillStyle = color("ink"); context.fillText(name === -1 ? "none" : name, x / n, y / n);
  });
  context.textBaseline = "alphabetic";
}

function tellPoint(cloud, event) {
  const box = cloud.canvas.getBoundingClientRect();
  const [mx, my] = [event.clientX - box.left, event.clientY - box.top];
  let [best, distance] = [-1, 100];
  for (let i = 0; i < cloud.screen.length / 2; i++) {
    const d = (cloud.screen[2 * i] - mx) ** 2 + (cloud.screen[2 * i + 1] - my) ** 2;
    if (d < distance) [best, distance] = [i, d];
  }
  cloud.tip.hidden = best < 0;
  if (best < 0) return;
  const where = [0, 1, 2].map((a) => fmt(Number((cloud.points[3 * best + a] * cloud.unit).toPrecision(3)))).join(", ");
  cloud.tip.textContent = (cloud.classes.length ? `class ${cloud.names[cloud.classes[best]]}, ` : "") + `(${where})`;
  cloud.tip.style.left = Math.min(mx + 10, box.width - 170) + "px";
  cloud.tip.style.top = cloud.canvas.offsetTop + my - 26 + "px";
}

const drawClouds = () => shownClouds().forEach(drawCloud);
const shownClouds = () => atlas.clouds.slice(view.first, view.first + view.width);

function turnBy(dx, dy) {
  view.yaw += dx;
  view.pitch = Math.max(-1.5, Math.min(1.5, view.pitch + dy));
  drawClouds();
}

function listenTo(cloud) {
  const canvas = cloud.canvas;
  let held = null;
  canvas.addEventListener("pointerdown", (event) => { if (view.turn) { held = [event.clientX, event.clientY]; canvas.setPointerCapture(event.pointerId); } });
  canvas.addEventListener("pointermove", (event) => {
    if (!held) { if (cloud.screen) tellPoint(cloud, event); return; }
    turnBy((event.clientX - held[0]) / 120, (event.clientY - held[1]) / 120);
    held = [event.clientX, event.clientY];
  });
  canvas.addEventListener("pointerup", () => { held = null; });
  canvas.addEventListener("pointerleave", () => { cloud.tip.hidden = true; });
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-0.12, 0], ArrowRight: [0.12, 0], ArrowUp: [0, -0.12], ArrowDown: [0, 0.12] }[event.key];
    if (step && view.turn) { event.preventDefault(); turnBy(...step); }
  });
}

function cloudPanel(cloud) {
  const layer = atlas.layers[cloud.layer];
  cloud.canvas = el("canvas", { role: "img", tabindex: 0, "aria-label": `inputs of ${called(layer)} on its leading singular directions` });
  cloud.tip = el("span", { class: "tip", hidden: "" });
  const said = cloud.between === null ? "" : `classes make up ${(100 * cloud.between).toFixed(0)} % of the spread in this plane (shuffled labels: ${(100 * cloud.chance).toFixed(1)} %)`;
  const mixed = (layer.mixed || []).filter((span) => span[0] <= 3).map((span) => `directions ${spanText(span)}, ${span[0] === span[1] ? "turned" : "mixed"} by rounding`);
  listenTo(cloud);
  return el("div", { class: "cloud" }, el("h3", {}, called(layer)), el("p", {}, [said, ...mixed].filter(Boolean).join("; ")), cloud.canvas, cloud.tip);
}

function showClouds() {
  byId("clouds").replaceChildren(...shownClouds().map(cloudPanel));
  for (const panel of byId("clouds").children) panel.classList.toggle("turn", view.turn);
  drawClouds();
}

function classChips() {
  const names = atlas.clouds[0].names;
  if (!names.length || names.length > 20 || !atlas.clouds[0].classes.length) return [];
  const chips = names.map((name, kind) => el("button", { type: "button", class: "chip", "aria-pressed": "false", onclick: () => pick(kind) }, name === -1 ? "no class" : String(name)));
  const paint = () => chips.forEach((chip, kind) => { chip.style.setProperty("--c", tint(kind)); chip.setAttribute("aria-pressed", String(view.only === kind)); });
  const pick = (kind) => { view.only = view.only === kind ? null : kind; paint(); drawClouds(); };
  repaint.set(chips[0], paint);
  paint();
  return [el("span", { role: "group", "aria-label": "show one class" }, ...chips)];
}

function depthSlider() {
  const last = atlas.clouds.length - view.width;
  if (last <= 0) return [];
  const slider = el("input", { type: "range", min: 0, max: last, value: 0, "aria-label": "first layer shown" });
  slider.addEventListener("input", () => { view.first = Number(slider.value); showClouds(); });
  return [el("label", {}, "deeper ", slider)];
}

function startClouds() {
  if (!atlas.clouds.length) return;
  byId("data").hidden = false;
  atlas.clouds.forEach(measure);
  const turn = (value) => { view.turn = value; for (const panel of byId("clouds").children) panel.classList.toggle("turn", value); drawClouds(); };
  byId("cloud-tools").append(choice("view", [[false, "2-D"], [true, "3-D"]], view.turn, turn), ...depthSlider(), ...classChips());
  const most = atlas.clouds[0];
  const drawn = most.points.length / 3;
  byId("cloud-caption").textContent = `Every point is a training input as it enters the layer, placed by its coordinates on the two (2-D) or three (3-D) directions v₁, v₂, v₃ that the layer stretches most, in units of the input; ${drawn < most.of ? `${drawn.toLocaleString("en")} of ${most.of.toLocaleString("en")} points are drawn; ` : ""}read from left to right to see whether classes move apart with depth. The baseline is what shuffled labels would give. In 3-D, drag or use the arrow keys to turn all layers together.`;
  showClouds();
  repaint.set(byId("clouds"), drawClouds);
  new ResizeObserver(drawClouds).observe(byId("clouds"));
}
