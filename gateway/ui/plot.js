// A scatter plot in SVG that works with a pointer and with the arrow keys.

const SVG = "http://www.w3.org/2000/svg";

function shape(tag, attributes, text) {
  const e = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) e.setAttribute(name, value);
  if (text !== undefined) e.textContent = text;
  return e;
}

// scatter draws points {x, y, hue} into svg. ranges are [low, high]; axes, where
// given, names them. picked(point, i) is told what is chosen, opened(point) what
// is opened by a double click or Enter.
export function scatter(svg, points, { x, y, axes, picked, opened }) {
  const width = 720, height = axes ? 480 : 560;
  const edge = axes ? { left: 56, right: 16, top: 16, bottom: 48 } : { left: 14, right: 14, top: 14, bottom: 14 };
  const place = (value, [low, high], from, to) => from + ((value - low) / (high - low || 1)) * (to - from);
  const at = points.map((p) => [place(p.x, x, edge.left, width - edge.right), place(p.y, y, height - edge.bottom, edge.top)]);
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.replaceChildren();
  if (axes) drawAxes(svg, { x, y, axes, width, height, edge, place });
  const dots = points.map((p, i) => {
    const dot = shape("circle", { cx: at[i][0].toFixed(1), cy: at[i][1].toFixed(1), r: axes ? 3 : 4.5, class: "point" });
    if (p.hue !== undefined) dot.style.setProperty("--hue", p.hue);
    return dot;
  });
  svg.append(...dots);

  let chosen = -1;
  const choose = (i) => {
    if (i < 0) return;
    if (chosen >= 0) dots[chosen].classList.remove("chosen");
    chosen = i;
    dots[i].classList.add("chosen");
    svg.append(dots[i]); // above the others
    picked(points[i]);
  };
  const nearest = (event) => {
    const box = svg.getBoundingClientRect();
    const px = ((event.clientX - box.left) / box.width) * width, py = ((event.clientY - box.top) / box.height) * height;
    return closest(at, (cx, cy) => Math.hypot(cx - px, cy - py), 40);
  };
  svg.onpointermove = (event) => event.pointerType === "mouse" && choose(nearest(event));
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
      shape("line", { x1: edge.left, x2: width - edge.right, y1: py, y2: py, class: "rule" }),
      shape("text", { x: edge.left - 8, y: py + 5, class: "tick end" }, vy.toFixed(2)),
      shape("text", { x: px, y: height - edge.bottom + 20, class: "tick " + (i === 4 ? "end" : "middle") }, vx.toFixed(2)));
  }
  svg.append(
    shape("text", { x: (edge.left + width - edge.right) / 2, y: height - 6, class: "axis middle" }, axes[0]),
    shape("text", { x: 14, y: (edge.top + height - edge.bottom) / 2, class: "axis middle", transform: `rotate(-90 14 ${(edge.top + height - edge.bottom) / 2})` }, axes[1]));
}
