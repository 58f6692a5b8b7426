// Named points: mark landmarks on photographs, and see them on others.

import { asJson, dropped, save, stem } from "./files.js";
import { drawFound, drawMarks, listen, listenForBox } from "./marks.js";

const at = (id) => document.getElementById(id);
const FEW = 0.3; // of the landmarks: fewer that are sure are likely of another class
const state = { names: [], chosen: 0, references: [], shown: 0, others: [], found: [], skeleton: [] };
let asked = 0;

const current = () => state.references[state.shown];
const say = (text, wrong = false) => { at("status").textContent = text; at("status").className = wrong ? "error" : ""; };

/** The photograph as browsers and the service see it: its EXIF orientation applied. */
async function opened(file) {
  const url = URL.createObjectURL(file), image = Object.assign(new Image(), { src: url });
  await image.decode().catch(() => { throw new Error(`${file.name} can't be shown by this browser`); });
  return { file, url, width: image.naturalWidth, height: image.naturalHeight, points: new Map() };
}

async function mark(file) {
  try {
    state.references.push(await opened(file));
  } catch (error) { return say(error.message, true); }
  state.shown = state.references.length - 1;
  state.chosen = 0;
  if (!state.names.length) state.names.push("point 1");
  show();
  say(`${file.name}: put the landmarks by clicking, then choose other photographs.`);
}

function show() {
  const reference = current();
  at("editor").hidden = !reference;
  if (!reference) return;
  at("picture").src = reference.url;
  at("references").hidden = state.references.length < 2;
  at("references").replaceChildren(...state.references.map((each, index) => {
    const button = Object.assign(document.createElement("button"), { textContent: each.file.name });
    button.setAttribute("aria-pressed", index === state.shown);
    button.onclick = () => { state.shown = index; show(); };
    return button;
  }));
  draw();
  listNames();
}

function draw() {
  const { points } = current();
  const placed = state.names.filter((name) => points.has(name)).map((name) => ({ name, ...points.get(name) }));
  drawMarks(at("marks"), current(), placed, change);
  const any = state.references.some((each) => each.points.size);
  at("set").disabled = at("coco").disabled = !any;
}

/** keep: whether the mark has the keyboard, which it keeps. */
function change(name, place, keep = false) {
  if (place) current().points.set(name, place);
  else current().points.delete(name);
  draw();
  if (keep) [...at("marks").children].find((group) => group.dataset.name === name)?.focus();
  if (!place) listNames();
  later();
}

function put(place) {
  let name = state.names[state.chosen];
  if (name === undefined || current().points.has(name)) {
    name = newName();
    state.names.push(name);
  }
  current().points.set(name, place);
  const next = state.names.findIndex((each) => !current().points.has(each));
  state.chosen = next < 0 ? state.names.length : next;
  draw();
  listNames();
  later();
}

function newName() {
  let number = state.names.length + 1;
  while (state.names.includes(`point ${number}`)) number += 1;
  return `point ${number}`;
}

function listNames() {
  at("names").replaceChildren(...state.names.map((name, index) => {
    const row = document.createElement("li");
    const choice = Object.assign(document.createElement("input"), { type: "radio", name: "chosen", checked: index === state.chosen });
    choice.setAttribute("aria-label", `put ${name} next`);
    choice.onchange = () => { state.chosen = index; };
    const text = Object.assign(document.createElement("input"), { type: "text", value: name, maxLength: 60 });
    text.setAttribute("aria-label", `name of landmark ${index + 1}`);
    text.onchange = () => rename(index, text.value.trim());
    const remove = Object.assign(document.createElement("button"), { textContent: "×" });
    remove.setAttribute("aria-label", `take ${name} away`);
    remove.onclick = () => forget(name);
    row.append(choice, text, remove);
    return row;
  }));
}

function rename(index, name) {
  const old = state.names[index];
  if (!name || state.names.includes(name)) return listNames();
  state.names[index] = name;
  for (const { points } of state.references) {
    if (points.has(old)) { points.set(name, points.get(old)); points.delete(old); }
  }
  draw();
  listNames();
  later();
}

function forget(name) {
  state.names = state.names.filter((each) => each !== name);
  for (const { points } of state.references) points.delete(name);
  state.chosen = Math.min(state.chosen, state.names.length);
  draw();
  listNames();
  later();
}

/** COCO keypoints: (0, 0) is the picture's corner there. */
const triples = (valueOf) => state.names.flatMap((name) => {
  const point = valueOf(name);
  return point ? [point.x + 0.5, point.y + 0.5, 2] : [0, 0, 0];
});

function annotations(more = []) {
  const marked = state.references.filter((each) => each.points.size)
    .map((each) => ({ name: each.file.name, image: each, valueOf: (name) => each.points.get(name) }));
  const all = [...marked, ...more];
  return {
    images: all.map(({ name, image: { width, height } }, i) => ({ id: i + 1, file_name: name, width, height })),
    categories: [{ id: 1, name: "object", keypoints: state.names, skeleton: [] }],
    annotations: all.map(({ valueOf, bbox }, i) => {
      const keypoints = triples(valueOf);
      return { id: i + 1, image_id: i + 1, category_id: 1, iscrowd: 0, keypoints, num_keypoints: keypoints.filter((v, k) => k % 3 === 2 && v).length, ...(bbox ? { bbox } : {}) };
    }),
  };
}

function form(photographs) {
  const body = new FormData();
  for (const { file, points } of state.references) if (points.size) body.append("reference", file, file.name);
  body.append("annotations", asJson(annotations()), "annotations.json");
  for (const { file } of photographs) body.append("image", file, file.name);
  return body;
}

/** box: x,y,w,h of the object, to look at that part alone. */
async function ask(photographs, accept, box = "") {
  const key = at("key").value;
  const headers = { Accept: accept, ...(key ? { Authorization: `Bearer ${key}` } : {}) };
  const response = await fetch(box ? `landmarks?roi=${encodeURIComponent(box)}` : "landmarks", { method: "POST", body: form(photographs), headers })
    .catch(() => { throw new Error("The service can't be reached."); });
  if (response.ok) return response;
  throw new Error((await response.json().catch(() => null))?.detail ?? `the service answered ${response.status}`);
}

/** Marks that move are asked for when they rest. */
function later() {
  const mine = ++asked;
  if (state.others.length) setTimeout(() => mine === asked && find(), 400);
}

/** Up to eight photographs go in one request; one with a box goes alone, for the box is the request's. */
function groups(photographs) {
  const all = [];
  for (const photograph of photographs) {
    const last = all.at(-1);
    if (!photograph.box && last && !last[0].box && last.length < 8) last.push(photograph);
    else all.push([photograph]);
  }
  return all;
}

async function find() {
  if (!state.references.some((each) => each.points.size)) return say("Mark a photograph first.", true);
  const mine = ++asked;
  say("Looking for the landmarks…");
  const found = [];
  try {
    for (const some of groups(state.others)) {
      const answer = await (await ask(some, "application/json", some[0].box)).json();
      if (mine !== asked) return;
      (answer.results ?? [answer]).forEach((result, i) => found.push({ photograph: some[i], ...some[i], result }));
    }
  } catch (error) { return mine === asked && say(error.message, true); }
  state.found = found;
  at("found").replaceChildren(...found.map(card));
  say(`${state.found.length} photographs. Filled points are sure; hollow ones are not.`);
}

/** The object's box, to be written or drawn: with it the landmarks are found more surely. */
function boxField(photograph) {
  const label = document.createElement("label");
  const text = Object.assign(document.createElement("input"), { type: "text", value: photograph.box ?? "", placeholder: "x,y,width,height" });
  text.onchange = () => { photograph.box = text.value.replace(/\s/g, ""); find(); };
  label.append("Object's box: drag one, or write it ", text);
  return label;
}

function card({ photograph, file, url, result }) {
  const article = document.createElement("article"), title = document.createElement("h3"), text = document.createElement("p");
  title.textContent = file.name;
  if (result.problem) {
    text.textContent = result.problem.detail;
    text.className = "warning";
    article.append(title, text, boxField(photograph));
    return article;
  }
  const figure = Object.assign(document.createElement("figure"), { className: "stage" });
  const image = Object.assign(document.createElement("img"), { src: url, alt: file.name });
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("role", "group");
  svg.setAttribute("aria-label", `Landmarks found on ${file.name}`);
  figure.append(image, svg);
  drawFound(svg, result.image, result.landmarks, result.skeleton, result.roi);
  listenForBox(svg, result.image, (box) => { photograph.box = box; find(); });
  const seen = result.landmarks.filter((point) => point.visible).length, all = result.landmarks.length;
  text.textContent = `${seen} of ${all} landmarks are sure.`;
  article.append(figure, title, text, boxField(photograph));
  if (seen < FEW * all) {
    const warning = Object.assign(document.createElement("p"), { className: "warning" });
    warning.textContent = `Few are: is it of another class than what you marked? The network says ${result.prediction.label}.`;
    article.append(warning);
  }
  return article;
}

async function addOthers(files) {
  const before = state.others.length, wrong = [];
  for (const file of files) {
    try {
      state.others.push(await opened(file));
    } catch (error) { wrong.push(error.message); }
  }
  if (state.others.length > before) await find();
  if (wrong.length) say(wrong.join("; "), true);
}

at("reference").onchange = ({ target }) => { const [file] = target.files; target.value = ""; if (file) mark(file); };
at("others").onchange = ({ target }) => { const files = [...target.files]; target.value = ""; addOthers(files); };
at("example").onclick = async () => mark(new File([await (await fetch("page/example.png")).blob()], "example.png"));
at("add").onclick = () => { state.names.push(newName()); state.chosen = state.names.length - 1; listNames(); at("names").lastChild.querySelector("input[type=text]").select(); };
at("set").onclick = () => ask([], "application/x-landmarks").then((r) => r.blob()).then((blob) => save(blob, "object.landmarks"), (error) => say(error.message, true));
at("coco").onclick = () => {
  const seen = (result) => (name) => result.landmarks.find((point) => point.name === name && point.visible);
  const more = state.found.filter(({ result }) => result.landmarks).map(({ file, result }) => ({ name: file.name, image: result.image, valueOf: seen(result), bbox: result.bbox }));
  save(asJson(annotations(more)), `${stem(current()?.file.name ?? "landmarks")}.coco.json`);
};
listen(at("marks"), current, put, (name, place) => change(name, place));
// A keyboard puts the chosen landmark into the middle, and moves it from there.
at("names").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !current()) return;
  event.preventDefault();
  event.target.blur();
  put({ x: current().width / 2, y: current().height / 2 });
  at("marks").lastChild?.focus();
});
document.addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("over"); });
document.addEventListener("dragleave", () => document.body.classList.remove("over"));
document.addEventListener("drop", async (event) => {
  event.preventDefault();
  document.body.classList.remove("over");
  const files = await dropped(event.dataTransfer);
  if (current()?.points.size) addOthers(files);
  else if (files.length) mark(files[0]);
});
