// What can be taken away: files, and a line for the shell.

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
