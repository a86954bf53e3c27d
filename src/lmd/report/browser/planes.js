"use strict";
// the parser knows the name space, so that no address has to stand in the page
const drawingSpace = (() => { const box = document.createElement("div"); box.innerHTML = "<svg></svg>"; return box.firstChild.namespaceURI; })();

function svg(tag, attributes, ...children) {
  const node = document.createElementNS(drawingSpace, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

// the unit circle parts what dies out from what grows; the plane shows it and everything inside or beyond
function eigenvaluePlane(plane) {
  const reach = Math.max(1.08 * Math.max(1, plane.radius || 0, plane.random || 0), plane.reach || 0);
  const circle = (r, mark) => svg("circle", { cx: 0, cy: 0, r: (100 * r) / reach, class: mark });
  const picture = svg("svg", { viewBox: "-100 -100 200 200", role: "img", "aria-label": `eigenvalues of ${atlas.layers[plane.layer].name}` },
    svg("line", { x1: -100, x2: 100, y1: 0, y2: 0, class: "axis" }), svg("line", { y1: -100, y2: 100, x1: 0, x2: 0, class: "axis" }), circle(1, "unit"));
  if (plane.pseudo) picture.prepend(pseudospectrum(plane, reach));
  if (plane.random > 0) picture.append(circle(plane.random, "random"));
  for (let i = 0; i < plane.points.length; i += 2) {
    const at = (j) => (plane.points[i + j] * plane.unit * 100) / reach;
    picture.append(svg("circle", { cx: at(0).toFixed(2), cy: (-at(1)).toFixed(2), r: plane.points.length > 200 ? 1.3 : 2, class: "eigenvalue" }));
  }
  return picture;
}

// where a change of the weights by a power of ten can move an eigenvalue: the smaller the power, the darker
function pseudospectrum(plane, reach) {
  const step = (200 * plane.reach) / (reach * (plane.columns - 1));
  const cells = plane.pseudo.flatMap((level, i) => {
    if (level >= 0) return [];
    const column = i % plane.columns, row = Math.floor(i / plane.columns);
    return [row, -row].slice(0, row ? 2 : 1).map((y) => svg("rect", { width: step, height: step, "fill-opacity": Math.min(0.6, -0.12 * level),
      x: (column - (plane.columns - 1) / 2 - 0.5) * step, y: (y - 0.5) * step }));
  });
  return svg("g", { class: "pseudospectrum" }, ...cells);
}

function startPlanes() {
  if (!atlas.planes.length) return;
  byId("recurrent").hidden = false;
  byId("planes").append(...atlas.planes.map((plane) => el("figure", {},
    el("h3", {}, el("a", { href: "#L" + plane.layer, onclick: (event) => { event.preventDefault(); openCard(plane.layer); } }, called(atlas.layers[plane.layer]))),
    eigenvaluePlane(plane),
    el("figcaption", {}, `spectral radius ${fmt(plane.radius)}, random ${fmt(plane.random)}` + (plane.points.length / 2 < plane.of ? `; the ${plane.points.length / 2} largest of ${plane.of} eigenvalues` : "")))));
}
