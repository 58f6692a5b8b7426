// Keypoints over the picture: a ring for each, a square for those of a second class.

const SVG = "http://www.w3.org/2000/svg";
const STEPS = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: -Infinity, End: Infinity };

function element(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function shape(point, r, second) {
  if (!second) return (more) => element("circle", { cx: point.x, cy: point.y, r, ...more });
  return (more) => element("rect", { x: point.x - r, y: point.y - r, width: 2 * r, height: 2 * r, ...more });
}

/** A square is larger, so that a ring at the same place is seen inside it. */
function ring(point, unit, second, label, tell) {
  const figures = describe(point, label);
  const group = element("g", { tabindex: -1, role: "img", "aria-label": figures, "data-confidence": point.confidence });
  const outline = shape(point, unit * (0.7 + point.confidence + (second ? 0.9 : 0)), second);
  const hue = second ? 200 + 60 * point.confidence : 50 + 100 * point.confidence;
  group.append(
    outline({ class: "halo", "stroke-width": 5 }),
    outline({ class: "ring", "stroke-width": 2.5, stroke: `hsl(${hue} 95% ${second ? 70 : 55}%)` }),
  );
  for (const event of ["pointerenter", "focus"]) group.addEventListener(event, () => tell(figures));
  return group;
}

function describe({ x, y, confidence, coarse, fine, covariance, drop, drop_error: error }, label) {
  const sure = covariance ? `± ${Math.sqrt(covariance[0][0]).toFixed(2)}, ${Math.sqrt(covariance[1][1]).toFixed(2)} px` : "not refined";
  return `${label ? `${label}\n` : ""}x ${x.toFixed(1)}, y ${y.toFixed(1)} (${sure})\nconfidence ${confidence.toFixed(2)}\ndrop of the class score ${drop.toFixed(2)}${error === null ? "" : ` ± ${error.toFixed(2)}`}\ncoarse ${coarse.toFixed(1)}, fine ${fine.toFixed(1)} deviations`;
}

/** Draws the answer's keypoints into the svg, the first class on top, of each the strongest; labelOf: of a class, "" with one class. */
export function draw(svg, { image, keypoints, options }, labelOf, tell) {
  const second = [options.target_class].flat()[1];
  const unit = Math.max(image.width, image.height) / 90;
  const weakestFirst = keypoints.toSorted((a, b) => (b.target === second) - (a.target === second) || a.confidence - b.confidence);
  svg.setAttribute("viewBox", `-0.5 -0.5 ${image.width} ${image.height}`);
  svg.replaceChildren(...weakestFirst.map((point) => ring(point, unit, point.target === second, labelOf(point.target), tell)));
}

const visible = (svg) => [...svg.children].filter((group) => group.style.display !== "none").reverse();

/** Shows those from this confidence on, and lets Tab reach the strongest; returns how many are shown. */
export function showFrom(svg, confidence) {
  for (const group of svg.children) {
    group.style.display = Number(group.dataset.confidence) < confidence ? "none" : "";
    group.setAttribute("tabindex", -1);
  }
  visible(svg)[0]?.setAttribute("tabindex", 0);
  return visible(svg).length;
}

/** One Tab leads to the keypoints; the arrow keys lead from one to the next. */
export function walkWithArrows(svg) {
  svg.addEventListener("keydown", (event) => {
    const groups = visible(svg), at = groups.indexOf(document.activeElement);
    if (!(event.key in STEPS) || at < 0) return;
    event.preventDefault();
    const next = groups[Math.max(0, Math.min(groups.length - 1, at + STEPS[event.key]))];
    groups[at].setAttribute("tabindex", -1);
    next.setAttribute("tabindex", 0);
    next.focus();
  });
}
