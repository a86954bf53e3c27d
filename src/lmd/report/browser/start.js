"use strict";
function drawPicture(canvas, pixels, width) {
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  pixels.forEach((value, i) => image.data.set([...diverging(value / 999), 255], 4 * i));
  context.putImageData(image, 0, 0);
}

function startPictures() {
  const seen = atlas.pictures;
  if (!seen) return;
  byId("pictures").hidden = false;
  const canvases = seen.pixels.map((_, i) => el("canvas", { width: seen.width, height: seen.height, role: "img", "aria-label": `right singular vector ${spanText(seen.spans[i])}` }));
  byId("picture-grid").append(...canvases.map((canvas, i) => el("div", { class: seen.sigma[i] < seen.edge ? "noise" : null }, el("b", {}, "σ", el("sub", {}, spanText(seen.spans[i]))), ` ${fmt(seen.sigma[i])}`, canvas, seen.spans[i][2] ? el("small", {}, seen.spans[i][0] === seen.spans[i][1] ? "turned by rounding" : "mixed by rounding") : "")));
  const bar = el("span", { class: "scale" });
  const guess = seen.declared ? "" : ` Drawn as ${seen.height} × ${seen.width} because ${seen.height * seen.width} inputs make a square; if the inputs are not pictures, the layout means nothing.`;
  byId("picture-caption").append(`Right singular vectors of ${called(atlas.layers[seen.layer])}, strongest first: the input patterns it answers to most. Orange pixels count for, blue against; zero is the background, and a random layer would show no pattern.${guess} One scale for all, saturated beyond −${fmt(seen.largest)}`, bar, `and ${fmt(seen.largest)} (unit 1). The overall sign is a convention.`);
  if (seen.sigma.some((s) => s < seen.edge)) byId("picture-caption").append(` Faded pictures belong to singular values below the noise edge (${fmt(seen.edge)}).`);
  if (seen.spans.some((span) => span[2])) byId("picture-caption").append(" Directions that rounding of the weights mixes are one picture: the root mean square of their pixels, which no choice of directions inside the block changes.");
  const draw = () => {
    canvases.forEach((canvas, i) => drawPicture(canvas, seen.pixels[i]));
    bar.style.background = `linear-gradient(90deg,${[-1, -0.5, 0, 0.5, 1].map((t) => rgb(diverging(t))).join(",")})`;
  };
  repaint.set(byId("picture-grid"), draw);
  draw();
}

function startNavigation() {
  for (const section of document.querySelectorAll("main>section:not([hidden])")) {
    const title = section.querySelector("h2");
    byId("nav").append(el("a", { href: "#" + section.id }, title.textContent));
  }
}

// on paper: light, and with every layer open when they are few
function startPrinting() {
  let before = null;
  addEventListener("beforeprint", () => {
    before = root.dataset.theme;
    if (cards.length <= 24) cards.forEach((card, i) => { card.open = true; fillCard(card, atlas.layers[i]); });
    for (const more of document.querySelectorAll("header details")) more.open = true;
    root.classList.add("paper");
    setTheme("light");
  });
  addEventListener("afterprint", () => {
    root.classList.remove("paper");
    if (before) setTheme(before);
  });
}

byId("layers").hidden = !atlas.layers.length;
startTheme();
startDepth();
startHeads();
startPlanes();
startWaves();
startClouds();
startPictures();
startCards();
startTable();
startNavigation();
startPrinting();
