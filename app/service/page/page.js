"use strict";
const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
let photo = null; // the file that was chosen
let answer = null; // of /detect
let layers = {}; // object URLs by name

function headers(more = {}) {
  const key = $("key").value;
  return { "Content-Type": photo.type, ...(key ? { Authorization: `Bearer ${key}` } : {}), ...more };
}

function say(text, isError = false) {
  $("status").textContent = text;
  $("status").classList.toggle("error", isError);
}

async function refusal(response) {
  const problem = await response.json().catch(() => null);
  return new Error(problem?.detail ?? `the service answered ${response.status}`);
}

async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = ""; ; ) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const [, name, data] = block.match(/^event: (\w+)\ndata: (.*)$/s) ?? [];
      if (name) yield [name, JSON.parse(data)];
    }
  }
}

async function detect(file) {
  if (!file) return;
  const mine = (photo = file);
  answer = null;
  Object.values(layers).forEach(URL.revokeObjectURL);
  layers = { photograph: URL.createObjectURL(file) };
  $("result").hidden = true;
  $("progress").hidden = false;
  $("progress").removeAttribute("value");
  say("Sending …");
  try {
    const response = await fetch("detect", { method: "POST", body: file, headers: headers({ Accept: "text/event-stream" }) });
    if (!response.ok) throw await refusal(response);
    for await (const [name, data] of events(response)) {
      if (mine !== photo) return; // another was chosen meanwhile
      if (name === "error") throw new Error(data.detail);
      if (name === "result") answer = data;
      else if (data.stage === "queue") say("Waiting for the device …");
      else {
        $("progress").value = data.done / data.total;
        say(`Covering one patch after the other: ${data.done} of ${data.total}`);
      }
    }
    if (!answer) throw new Error("the connection was lost before the answer came");
    show();
  } catch (error) {
    if (mine === photo) say(error.message, true);
  } finally {
    if (mine === photo) $("progress").hidden = true;
  }
}

function show() {
  const { image, keypoints, prediction, low_evidence: low } = answer;
  const seconds = answer.timing_ms.total / 1000;
  say(`${keypoints.length} keypoints ${seconds < 0.1 ? "at once" : `in ${seconds.toFixed(1)} s`}`);
  $("said").textContent = `${prediction.label}, ${Math.round(100 * prediction.probability)} %` + (low ? "; hardly any evidence" : "");
  $("picture").alt = `The photograph, which the network calls ${prediction.label}`;
  $("stage").style.setProperty("--aspect", image.width / image.height);
  $("points").setAttribute("viewBox", `-0.5 -0.5 ${image.width} ${image.height}`);
  const unit = Math.max(image.width, image.height) / 90;
  $("points").replaceChildren(...[...keypoints].reverse().map((point) => ring(point, unit)));
  $("threshold").value = 0;
  $("about").textContent = "Point at a keypoint, or reach it with Tab, for its figures.";
  document.querySelector("input[value=photograph]").checked = true;
  $("picture").src = layers.photograph;
  $("result").hidden = false;
  threshold();
}

function ring(point, unit) {
  const group = document.createElementNS(SVG, "g");
  const figures = describe(point);
  group.setAttribute("tabindex", "0");
  group.setAttribute("role", "img");
  group.setAttribute("aria-label", figures);
  group.dataset.confidence = point.confidence;
  for (const [name, width] of [["halo", 5], ["ring", 2.5]]) {
    const circle = document.createElementNS(SVG, "circle");
    circle.setAttribute("class", name);
    circle.setAttribute("cx", point.x);
    circle.setAttribute("cy", point.y);
    circle.setAttribute("r", unit * (0.7 + point.confidence));
    circle.setAttribute("stroke-width", width);
    if (name === "ring") circle.setAttribute("stroke", `hsl(${50 + 100 * point.confidence} 95% 55%)`);
    group.append(circle);
  }
  for (const event of ["pointerenter", "focus"]) group.addEventListener(event, () => ($("about").textContent = figures));
  return group;
}

function describe({ x, y, confidence, coarse, fine, covariance }) {
  const sure = covariance ? `± ${Math.sqrt(covariance[0][0]).toFixed(2)}, ${Math.sqrt(covariance[1][1]).toFixed(2)} px` : "not refined";
  return `x ${x.toFixed(1)}, y ${y.toFixed(1)} (${sure})\nconfidence ${confidence.toFixed(2)}\ncoarse ${coarse.toFixed(1)}, fine ${fine.toFixed(1)} deviations`;
}

function threshold() {
  const from = Number($("threshold").value);
  const groups = [...$("points").children];
  for (const group of groups) group.style.display = group.dataset.confidence < from ? "none" : "";
  $("from").textContent = from.toFixed(2);
  $("shown").textContent = `${kept().length} of ${groups.length}`;
}

function kept() {
  return answer.keypoints.filter((point) => point.confidence >= Number($("threshold").value));
}

async function heatmap(query) {
  const response = await fetch(`heatmap?${query}`, { method: "POST", body: photo, headers: headers() });
  if (!response.ok) throw await refusal(response);
  return URL.createObjectURL(await response.blob());
}

async function layer(name) {
  const mine = photo;
  try {
    const url = layers[name] ?? (await heatmap(`map=${name}`));
    if (mine !== photo) return URL.revokeObjectURL(url);
    layers[name] = url;
    if (document.querySelector("input[name=layer]:checked").value === name) $("picture").src = url;
  } catch (error) {
    say(error.message, true);
  }
}

function save(url, name) {
  const link = Object.assign(document.createElement("a"), { href: url, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

function asFile(value, name) {
  save(URL.createObjectURL(new Blob([JSON.stringify(value, null, 1)], { type: "application/json" })), name);
}

function coco() {
  const points = kept();
  const xs = points.map((p) => p.x), ys = points.map((p) => p.y);
  const box = points.length ? [Math.min(...xs), Math.min(...ys), Math.max(...xs) - Math.min(...xs), Math.max(...ys) - Math.min(...ys)] : [0, 0, 0, 0];
  return {
    images: [{ id: 1, file_name: photo.name, ...answer.image }],
    categories: [{ id: 1, name: answer.prediction.label, keypoints: points.map((_, i) => `point_${i + 1}`), skeleton: [] }],
    annotations: [{
      id: 1, image_id: 1, category_id: 1, iscrowd: 0, bbox: box, area: box[2] * box[3], num_keypoints: points.length,
      keypoints: points.flatMap((p) => [p.x + 0.5, p.y + 0.5, 2]), scores: points.map((p) => p.confidence),
    }],
  };
}

async function copy() {
  const name = photo.name.replaceAll("'", "'\\''");
  const key = $("key").value ? '-H "Authorization: Bearer $WEAKPOINTS_KEY" ' : "";
  await navigator.clipboard.writeText(`curl ${key}-F image=@'${name}' ${new URL("detect", location.href)}`);
  say("Copied.");
}

const stem = () => photo.name.replace(/\.\w+$/, "");
for (const id of ["file", "camera"]) $(id).addEventListener("change", (event) => detect(event.target.files[0]));
$("threshold").addEventListener("input", threshold);
$("layers").addEventListener("change", (event) => layer(event.target.value));
$("json").addEventListener("click", () => asFile({ ...answer, keypoints: kept() }, `${stem()}.json`));
$("coco").addEventListener("click", () => asFile(coco(), `${stem()}.coco.json`));
$("png").addEventListener("click", () => heatmap("keypoints=true").then((url) => save(url, `${stem()}.png`), (error) => say(error.message, true)));
$("curl").addEventListener("click", () => copy().catch(() => say("This browser does not let pages copy.", true)));
document.addEventListener("paste", (event) => detect(event.clipboardData.files[0]));
for (const name of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    document.body.classList.toggle("over", name === "dragover");
    if (name === "drop") detect(event.dataTransfer.files[0]);
  });
}
