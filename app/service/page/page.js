// The page: photographs come in, one after the other is looked at, one of them is shown.
import { asJson, coco, copy, curl, dropped, save, stem } from "./files.js";
import { draw, showFrom, walkWithArrows } from "./points.js";
import { detect, heatmap, queryOf } from "./service.js";

const $ = (id) => document.getElementById(id);
const UNSURE = 0.5; // below this probability another class may be as likely
const MAPS = ["coarse", "fine", "fused"];
const HINT = $("about").textContent;
let photographs = []; // {file, url, targets, maps, classes, answer, asked, error, says, done, busy, stop}
let shown = null; // one of them
let working = Promise.resolve();

const key = () => $("key").value;
const percent = (probability) => (probability < 0.005 ? "under 1 %" : `${Math.round(100 * probability)} %`);
const made = (name, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
};

function say(text, isError = false) {
  $("status").textContent = text;
  $("status").classList.toggle("error", isError);
}

// Photographs come in.

function take(files) {
  if (!files.length) return say("There is no photograph in this: only files and folders of them are taken.", true);
  for (const photo of photographs) forget(photo);
  $("threshold").value = 0;
  document.querySelector("input[value=photograph]").checked = true;
  photographs = [...files].map((file) => ({ file, url: URL.createObjectURL(file), targets: [], maps: new Map() }));
  $("photographs").hidden = photographs.length < 2;
  $("photographs").replaceChildren(...photographs.map(choice));
  show(photographs[0]);
  photographs.forEach(look);
}

function choice(photo) {
  const mark = made("span");
  photo.mark = () => {
    mark.textContent = photo.error ? "refused" : photo.answer ? photo.answer.prediction.label : "waits";
    button.setAttribute("aria-pressed", photo === shown);
  };
  const picture = made("img", { src: photo.url, alt: "" });
  picture.onerror = () => picture.remove(); // of a type that this browser does not show
  const button = made("button", { type: "button", onclick: () => show(photo) }, picture, photo.file.name, mark);
  return button;
}

function forget(photo) {
  photo.stop?.abort();
  for (const url of [photo.url, ...photo.maps.values()]) URL.revokeObjectURL(url);
}

// One after the other is looked at.

function look(photo) {
  photo.stop?.abort();
  const stop = (photo.stop = new AbortController());
  Object.assign(photo, { error: null, busy: true, done: undefined, says: "Waiting for the others …" });
  tell(photo);
  working = working.then(() => stop.signal.aborted || answer(photo, stop.signal));
}

async function answer(photo, signal) {
  const asked = photo.targets;
  photo.says = "Sending …";
  tell(photo);
  try {
    for await (const [name, data] of detect(photo.file, asked, key(), signal)) {
      if (name === "result") Object.assign(photo, { answer: data, asked, busy: false });
      else if (data.stage === "queue") photo.says = "Waiting for the device …";
      else Object.assign(photo, { done: data.done / data.total, says: `Covering one patch after the other: ${data.done} of ${data.total}` });
      tell(photo);
    }
  } catch (error) {
    if (signal.aborted) return;
    Object.assign(photo, { error: error.message, busy: false });
    tell(photo);
  }
}

// One of them is shown.

/** anew: the answer is there, or another photograph is shown. */
function tell(photo, anew = !photo.busy && !photo.error) {
  for (const each of photographs) each.mark?.();
  if (photo !== shown) return;
  const { answer, error, busy, done, says } = photo;
  $("result").hidden = !answer;
  $("progress").hidden = !busy;
  if (done === undefined) $("progress").removeAttribute("value");
  else $("progress").value = done;
  if (answer && anew) present(photo);
  if (busy || error) say(error ?? says, Boolean(error));
}

function show(photo) {
  shown = photo;
  tell(photo, true);
}

function present(photo) {
  const { answer } = photo, { keypoints, prediction, image } = answer;
  photo.classes ??= prediction.top;
  const seconds = answer.timing_ms.total / 1000;
  say(`${keypoints.length} keypoints ${seconds < 0.1 ? "at once" : `in ${seconds.toFixed(1)} s`}`);
  $("said").textContent = `${prediction.label}, ${percent(prediction.probability)}`;
  $("unsure").textContent = doubts(photo).join(" ");
  $("unsure").hidden = !$("unsure").textContent;
  presentClasses(photo);
  $("stage").style.setProperty("--aspect", image.width / image.height);
  const targets = targetsOf(photo);
  draw($("points"), answer, (target) => (targets.length > 1 ? labelOf(photo, target) : ""), (text) => ($("about").textContent = text));
  $("about").textContent = HINT;
  threshold();
  layer();
}

const targetsOf = ({ answer }) => [answer.options.target_class].flat();
const labelOf = ({ classes }, target) => classes.find((each) => each.class_id === target)?.label ?? `class ${target}`;

function doubts(photo) {
  const { prediction, low_evidence: low } = photo.answer;
  const said = [];
  if (prediction.probability < UNSURE) said.push(`The network is not sure what this is: it gives no class more than ${percent(prediction.probability)}. Look at what else it may be.`);
  if (low) said.push("There is hardly any evidence: no covered patch changed the class score more than noise does. Do not trust the coarse map.");
  return said;
}

/** The boxes are made anew; the one that was ticked with the keyboard keeps the focus. */
function presentClasses(photo) {
  const at = $("classes").contains(document.activeElement) ? document.activeElement.value : null;
  $("classes").replaceChildren($("classes").firstElementChild, ...photo.classes.map((each) => classBox(photo, each)));
  if (at !== null) $("classes").querySelector(`[value="${at}"]`)?.focus();
}

function classBox(photo, { class_id: target, label, probability }) {
  const targets = targetsOf(photo), at = targets.indexOf(target);
  const box = made("input", { type: "checkbox", checked: at >= 0, value: target });
  box.onchange = () => choose(photo, target, box.checked);
  const mark = at >= 0 && targets.length > 1 ? [" ○", " □"][at] : "";
  return made("label", {}, box, ` ${label}, ${percent(probability)}${mark}`);
}

/** A third class takes the place of the first; without any it is the predicted one. */
function choose(photo, target, wanted) {
  const others = (photo.targets.length ? photo.targets : targetsOf(photo)).filter((each) => each !== target);
  photo.targets = wanted ? [...others, target].slice(-2) : others;
  for (const box of $("classes").querySelectorAll("input")) box.checked = photo.targets.includes(Number(box.value));
  look(photo);
}

function threshold() {
  const from = Number($("threshold").value);
  $("from").textContent = from.toFixed(2);
  $("shown").textContent = `${showFrom($("points"), from)} of ${$("points").children.length}`;
}

const kept = () => shown.answer.keypoints.filter((point) => point.confidence >= Number($("threshold").value));

// The maps.

const chosenLayer = () => document.querySelector("input[name=layer]:checked").value;

/** Without a choice there is one class, the predicted one. */
const drawn = ({ asked }, target) => (asked.length ? { drawn_class: target } : {});

async function mapOf(photo, map, target) {
  const query = String(queryOf(photo.asked, { map, ...drawn(photo, target) }));
  if (!photo.maps.has(query)) {
    const png = await heatmap(photo.file, query, key());
    if (!photo.maps.has(query)) photo.maps.set(query, URL.createObjectURL(png)); // it was asked for twice
  }
  return photo.maps.get(query);
}

let drawing = 0; // maps come late: only the last that was asked for is drawn

async function layer() {
  const photo = shown, name = chosenLayer(), mine = ++drawing;
  $("stage").hidden = name === "all";
  $("maps").hidden = name !== "all";
  $("picture").alt = `${name === "photograph" ? "The photograph" : `The ${name} map over the photograph`}, which the network calls ${photo.answer.prediction.label}`;
  try {
    if (name === "all") return await compare(photo, mine);
    const url = name === "photograph" ? photo.url : await mapOf(photo, name, targetsOf(photo)[0]);
    if (mine === drawing) $("picture").src = url;
  } catch (error) {
    if (mine === drawing) say(error.message, true);
  }
}

/** A row for each class: the three maps beside each other. */
async function compare(photo, mine) {
  $("maps").replaceChildren();
  for (const target of targetsOf(photo)) {
    for (const map of MAPS) {
      const url = await mapOf(photo, map, target);
      if (mine !== drawing) return;
      const words = `${map}, ${labelOf(photo, target)}`;
      $("maps").append(made("figure", {}, made("img", { src: url, alt: `The map: ${words}` }), made("figcaption", { textContent: words })));
    }
  }
}

/** One PNG for each class. */
async function pictures(photo) {
  const targets = targetsOf(photo), name = stem(photo.file.name);
  for (const target of targets) {
    const png = await heatmap(photo.file, queryOf(photo.asked, { keypoints: true, ...drawn(photo, target) }), key());
    save(png, targets.length > 1 ? `${name}.${labelOf(photo, target)}.png` : `${name}.png`);
  }
}

// What people do.

for (const id of ["file", "camera"]) {
  $(id).addEventListener("change", ({ target }) => {
    const files = [...target.files];
    target.value = ""; // else the same file, chosen again, is no change
    if (files.length) take(files);
  });
}
document.addEventListener("paste", (event) => {
  const isText = event.target.matches?.("input, textarea"); // the key is pasted
  if (!isText || event.clipboardData.files.length) take(event.clipboardData.files);
});
for (const name of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    document.body.classList.toggle("over", name === "dragover");
    if (name === "drop") dropped(event.dataTransfer).then(take, (error) => say(error.message, true));
  });
}
walkWithArrows($("points"));
$("threshold").addEventListener("input", threshold);
$("layers").addEventListener("change", layer);
$("picture").addEventListener("error", () => chosenLayer() === "photograph" && $("layers").querySelector("[value=fused]").click());
$("json").addEventListener("click", () => save(asJson({ ...shown.answer, keypoints: kept() }), `${stem(shown.file.name)}.json`));
$("coco").addEventListener("click", () => save(asJson(coco(shown.file.name, shown.answer, kept(), (target) => labelOf(shown, target))), `${stem(shown.file.name)}.coco.json`));
$("png").addEventListener("click", () => pictures(shown).catch((error) => say(error.message, true)));
$("curl").addEventListener("click", () => {
  const address = new URL("detect", location.href), query = queryOf(shown.asked);
  address.search = query;
  copy(curl(shown.file.name, address.href, key())).then(() => say("Copied."), () => say("This browser does not let pages copy.", true));
});
