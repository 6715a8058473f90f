// A scatter plot in SVG that works with a pointer and with the arrow keys.

const SVG = "http://www.w3.org/2000/svg";

function shape(tag, attributes, text) {
  const e = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) e.setAttribute(name, value);
  if (text !== undefined) e.textContent = text;
  return e;
}

// scatter draws points {x, y, hue} into svg. ranges are [low, high]; axes, where
// given, names them. A point under the mouse is described in caption; a click,
// a touch or the arrow keys pick one, which picked(point) is told; a double
// click or Enter opens it.
export function scatter(svg, points, { x, y, axes, caption, describe, picked, opened }) {
  const width = svg.clientWidth || 720, height = Math.round(Math.min(560, Math.max(300, innerHeight * 0.6), width)); // real pixels, so that text keeps its size
  const edge = axes ? { left: 62, right: 24, top: 14, bottom: 46 } : { left: 14, right: 14, top: 14, bottom: 14 };
  const place = (value, [low, high], from, to) => from + ((value - low) / (high - low || 1)) * (to - from);
  const at = points.map((p) => [place(p.x, x, edge.left, width - edge.right), place(p.y, y, height - edge.bottom, edge.top)]);
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.replaceChildren();
  if (axes) drawAxes(svg, { x, y, axes, width, height, edge, place });
  const dots = points.map((p, i) => {
    const dot = shape("circle", { cx: at[i][0].toFixed(1), cy: at[i][1].toFixed(1), r: axes ? 3.5 : 5, class: "point" });
    if (p.hue !== undefined) dot.style.setProperty("--hue", p.hue);
    return dot;
  });
  svg.append(...dots);

  const summary = caption.textContent;
  let chosen = -1;
  const mark = (name, i) => {
    svg.querySelector("." + name)?.classList.remove(name);
    if (i < 0) return;
    dots[i].classList.add(name);
    svg.append(dots[i]); // above the others
  };
  const hint = (i) => {
    mark("near", i);
    const told = i < 0 ? chosen : i;
    caption.textContent = told < 0 ? summary : describe(points[told]);
  };
  const choose = (i) => {
    if (i < 0) return;
    chosen = i;
    mark("chosen", i);
    hint(-1);
    picked(points[i]);
  };
  const nearest = (event) => {
    const p = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    return closest(at, (cx, cy) => Math.hypot(cx - p.x, cy - p.y), event.pointerType === "mouse" ? 16 : 28);
  };
  svg.onpointermove = (event) => event.pointerType === "mouse" && hint(nearest(event));
  svg.onpointerleave = () => hint(-1);
  svg.onclick = (event) => choose(nearest(event));
  svg.ondblclick = () => chosen >= 0 && opened(points[chosen]);
  svg.onkeydown = (event) => {
    if (event.key === "Enter" && chosen >= 0) return opened(points[chosen]);
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!way || points.length === 0) return;
    event.preventDefault();
    choose(chosen < 0 ? closest(at, (cx, cy) => Math.hypot(cx - width / 2, cy - height / 2), Infinity) : beside(at, chosen, way));
  };
}

// closest is the place with the least distance, -1 beyond limit.
function closest(at, distance, limit) {
  let best = -1, least = limit;
  at.forEach(([cx, cy], i) => {
    const d = distance(cx, cy);
    if (d < least) [best, least] = [i, d];
  });
  return best;
}

// beside is the nearest place in a direction, sideways distance counted double.
function beside(at, from, [dx, dy]) {
  const [fx, fy] = at[from];
  return closest(at, (cx, cy) => {
    const along = (cx - fx) * dx + (cy - fy) * dy, across = Math.abs((cx - fx) * dy) + Math.abs((cy - fy) * dx);
    return along <= 0.5 || across > 2 * along ? Infinity : along + 2 * across;
  }, Infinity);
}

function drawAxes(svg, { x, y, axes, width, height, edge, place }) {
  for (let i = 0; i <= 4; i++) {
    const vx = x[0] + ((x[1] - x[0]) * i) / 4, vy = y[0] + ((y[1] - y[0]) * i) / 4;
    const px = place(vx, x, edge.left, width - edge.right), py = place(vy, y, height - edge.bottom, edge.top);
    svg.append(
      shape("line", { x1: edge.left - 10, x2: width - edge.right + 10, y1: py, y2: py, class: "rule" }),
      shape("text", { x: edge.left - 18, y: py + 4, class: "tick end" }, vy.toFixed(2)),
      shape("text", { x: px, y: height - edge.bottom + 20, class: "tick middle" }, vx.toFixed(2)));
  }
  svg.append(
    shape("line", { x1: edge.left, x2: width - edge.right, y1: height - edge.bottom, y2: edge.top, class: "diagonal" }),
    shape("text", { x: (edge.left + width - edge.right) / 2, y: height - 6, class: "axis middle" }, axes[0]),
    shape("text", { x: 13, y: (edge.top + height - edge.bottom) / 2, class: "axis middle", transform: `rotate(-90 13 ${(edge.top + height - edge.bottom) / 2})` }, axes[1]));
}
