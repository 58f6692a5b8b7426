// What can be taken away: files, and a line for the shell.

const PHOTOGRAPH = /\.(jpe?g|jpe|jfif|png|webp|gif|bmp|tiff?|avif|hei[cf])$/i;

/** Files that were dropped; of a folder those in it that look like photographs. */
export async function dropped(transfer) {
  const files = [...transfer.files]; // both are empty once this function waits
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.some((entry) => entry.isDirectory)) return files;
  return (await Promise.all(entries.map((entry) => filesOf(entry)))).flat();
}

async function filesOf(entry, inFolder = false) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    return !inFolder || file.type.startsWith("image/") || PHOTOGRAPH.test(file.name) ? [file] : [];
  }
  const reader = entry.createReader(), found = [];
  for (let some = [0]; some.length; found.push(...some)) { // a reader gives 100 at a time
    some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
  }
  return (await Promise.all(found.map((inner) => filesOf(inner, true)))).flat();
}

/** The clipboard is there for https and localhost alone; elsewhere a selection is copied. */
export async function copy(text) {
  if (await navigator.clipboard?.writeText(text).then(() => true, () => false)) return;
  const area = Object.assign(document.createElement("textarea"), { value: text });
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  if (!done) throw new Error("not copied");
}

export const stem = (name) => name.replace(/\.\w+$/, "") || "photograph";

export function save(blob, name) {
  const url = URL.createObjectURL(blob);
  Object.assign(document.createElement("a"), { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

export const asJson = (value) => new Blob([JSON.stringify(value, null, 1)], { type: "application/json" });

const rounded = (value) => Math.round(value * 1000) / 1000;

/** As app/batch/coco.py says: an annotation for each class; COCO's (0, 0) is the picture's corner, ours a pixel's centre. */
export function coco(name, { image, options }, points, labelOf) {
  const classes = [options.target_class].flat();
  return {
    images: [{ id: 1, file_name: name, ...image }],
    categories: classes.map((target) => ({
      id: target + 1, name: labelOf(target), skeleton: [],
      keypoints: points.filter((point) => point.target === target).map((_, i) => `point_${i + 1}`),
    })),
    annotations: classes.map((target, index) => annotation(index + 1, target, points.filter((point) => point.target === target))),
  };
}

function annotation(id, target, found) {
  const xs = found.map((p) => rounded(p.x + 0.5)), ys = found.map((p) => rounded(p.y + 0.5));
  const [left, top, right, low] = found.length ? [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)] : [0, 0, 0, 0];
  const [width, height] = [rounded(right - left), rounded(low - top)];
  return {
    id, image_id: 1, category_id: target + 1, iscrowd: 0, num_keypoints: found.length,
    keypoints: found.flatMap((_, i) => [xs[i], ys[i], 2]), confidences: found.map((p) => p.confidence),
    bbox: [left, top, width, height], area: rounded(width * height),
  };
}

const forShell = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** The name stands in double quotes, because a comma or a semicolon has a meaning for curl -F. */
export function curl(name, address, withKey) {
  const quoted = name.replaceAll("\\", "\\\\").replaceAll('"', '\\"');
  const key = withKey ? '-H "Authorization: Bearer $WEAKPOINTS_KEY" ' : "";
  return `curl ${key}-F ${forShell(`image=@"${quoted}"`)} ${forShell(address)}`;
}
