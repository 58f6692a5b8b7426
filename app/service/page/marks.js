// Landmarks over a picture: to put, to drag and to walk with the keyboard.

const SVG = "http://www.w3.org/2000/svg";
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function element(name, attributes, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** A dot with its name; `sure` dots are filled. */
function dot({ name, x, y }, unit, sure, label) {
  const text = element("text", { x: x + 1.6 * unit, y: y - unit, "font-size": 2.2 * unit });
  text.textContent = name;
  return element(
    "g", { class: sure ? "sure" : "unsure", role: "img", "aria-label": label },
    element("circle", { cx: x, cy: y, r: unit }), text,
  );
}

function prepare(svg, { width, height }) {
  svg.setAttribute("viewBox", `-0.5 -0.5 ${width} ${height}`);
  svg.parentElement.style.setProperty("--aspect", width / height);
  return Math.max(width, height) / 70;
}

/** What was found: the part that was looked at, the skeleton, and over it the points. */
export function drawFound(svg, image, landmarks, skeleton, roi) {
  const unit = prepare(svg, image);
  const lines = skeleton.map(([a, b]) => [landmarks[a], landmarks[b]]).filter((ends) => ends.every((end) => end.visible))
    .map(([a, b]) => element("line", { x1: a.x, y1: a.y, x2: b.x, y2: b.y }));
  const told = ({ name, visible, confidence }) => `${name}, ${visible ? "" : "not visible, "}confidence ${confidence.toFixed(2)}`;
  const part = roi ? [rectangle(roi)] : [];
  svg.replaceChildren(...part, ...lines, ...landmarks.map((point) => dot(point, unit, point.visible, told(point))));
}

/** Marks that can be moved; `change` is told the new place of a name, or null where it is taken away. */
export function drawMarks(svg, image, points, change) {
  const unit = prepare(svg, image);
  svg.replaceChildren(...points.map((point) => {
    const label = `${point.name} at ${Math.round(point.x)}, ${Math.round(point.y)}`;
    const group = dot(point, unit, true, label);
    group.setAttribute("tabindex", 0);
    group.dataset.name = point.name;
    group.addEventListener("keydown", (event) => {
      const step = ARROWS[event.key], far = event.shiftKey ? 10 : 1;
      if (step) change(point.name, inside(image, point.x + far * step[0], point.y + far * step[1]), true);
      else if (event.key === "Delete" || event.key === "Backspace") change(point.name, null);
      else return;
      event.preventDefault();
    });
    return group;
  }));
}

function inside({ width, height }, x, y) {
  return { x: Math.min(width - 1, Math.max(0, x)), y: Math.min(height - 1, Math.max(0, y)) };
}

/** Pixels of the photograph under a pointer. */
function placeOf(svg, image, event) {
  const box = svg.getBoundingClientRect();
  const x = ((event.clientX - box.left) / box.width) * image.width - 0.5;
  const y = ((event.clientY - box.top) / box.height) * image.height - 0.5;
  return inside(image, x, y);
}

/** A click puts a point, and a drag moves the one that it begins on. current: the image; put, move: told the place. */
export function listen(svg, current, put, move) {
  let dragged = null;
  svg.addEventListener("pointerdown", (event) => {
    if (event.button || !current()) return;
    dragged = event.target.closest("g")?.dataset.name ?? null;
    if (dragged === null) put(placeOf(svg, current(), event));
    else svg.setPointerCapture(event.pointerId);
  });
  svg.addEventListener("pointermove", (event) => {
    if (dragged !== null) move(dragged, placeOf(svg, current(), event));
  });
  for (const end of ["pointerup", "pointercancel"]) svg.addEventListener(end, () => { dragged = null; });
}

const rectangle = ([x, y, width, height]) => element("rect", { x: x - 0.5, y: y - 0.5, width, height });

/** A drag draws a box: x,y,w,h in whole pixels. A click, or a box of hardly a pixel, is none. */
export function listenForBox(svg, image, done) {
  let start = null, drawn = null;
  const boxTo = (event) => {
    const end = placeOf(svg, image, event);
    const [left, right] = [start.x, end.x].sort((a, b) => a - b).map(Math.round);
    const [top, bottom] = [start.y, end.y].sort((a, b) => a - b).map(Math.round);
    return [left, top, right - left + 1, bottom - top + 1];
  };
  svg.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    event.preventDefault(); // the picture is not dragged away
    start = placeOf(svg, image, event);
    svg.setPointerCapture(event.pointerId);
  });
  svg.addEventListener("pointermove", (event) => {
    if (!start) return;
    drawn?.remove();
    drawn = svg.appendChild(rectangle(boxTo(event)));
  });
  svg.addEventListener("pointerup", (event) => {
    const box = start && boxTo(event);
    start = null;
    drawn?.remove();
    if (box && Math.min(box[2], box[3]) > 4) done(box.join(","));
  });
  svg.addEventListener("pointercancel", () => { start = null; drawn?.remove(); });
}
