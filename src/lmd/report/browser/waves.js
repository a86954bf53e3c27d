"use strict";
function wavePicture(wave) {
  const canvas = el("canvas", { width: wave.width, height: wave.height, role: "img", "aria-label": `largest singular value over frequencies of ${atlas.layers[wave.layer].name}` });
  const draw = () => {
    const context = canvas.getContext("2d");
    const image = context.createImageData(wave.width, wave.height);
    wave.pixels.forEach((value, i) => image.data.set([...diverging(value / 999), 255], 4 * i));
    context.putImageData(image, 0, 0);
  };
  repaint.set(canvas, draw);
  draw();
  if (wave.height === 1) canvas.classList.add("line");
  return canvas;
}

function bracketText(wave) {
  const number = (index, key) => { const found = index === null ? null : atlas.layers[index].findings[atlas.keys.indexOf(key)]; return found ? found[0] : null; };
  const [low, high] = ["operator_norm_lower", "operator_norm_upper"].map((key) => number(wave.operator, key));
  if (typeof low !== "number" || typeof high !== "number") return "operator norm unknown: no input size";
  return `operator norm ${fmt(low)} … ${fmt(high)}`;
}

function startWaves() {
  if (!atlas.waves.length) return;
  byId("convolutions").hidden = false;
  const link = (index, text) => el("a", { href: "#L" + index, onclick: (event) => { event.preventDefault(); openCard(index); } }, text);
  byId("waves").append(...atlas.waves.map((wave) => {
    const first = wave.kernel === null ? wave.layer : wave.kernel;
    const kernel = atlas.layers[first].findings[atlas.keys.indexOf("spectral_norm")];
    const known = wave.kernel !== null && kernel && typeof kernel[0] === "number";
    return el("figure", {}, el("h3", {}, link(first, called(atlas.layers[first]))), wavePicture(wave),
      el("figcaption", {}, wave.operator === null ? bracketText(wave) : link(wave.operator, bracketText(wave)), el("br"),
        known ? `kernel matrix σ₁ ${fmt(kernel[0])}; ` : "", link(wave.layer, `waves up to ${fmt(wave.peak)}`)));
  }));
}
