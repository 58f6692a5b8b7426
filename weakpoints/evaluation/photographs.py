"""Photographs to measure on: with landmarks (COCO keypoints), or just a folder of them."""

import json
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from weakpoints.class_names import class_index, classes_called
from weakpoints.coco import HALF, visible_points
from weakpoints.errors import BadOption, WeakpointsError
from weakpoints.evaluation.baselines import CORNERS, Points, Rectangle, spread
from weakpoints.images.decode import decode, read_file, split
from weakpoints.images.folders import files_below, is_hidden
from weakpoints.images.header import SUFFIXES
from weakpoints.method.detector import Detector
from weakpoints.method.localization import Localization
from weakpoints.method.suppression import sigma_of
from weakpoints.options import Limits, Options

BoxSource = Literal["annotation", "landmarks"]
ALL: dict[str, Any] = {
    "keep": 1.0,
    "max_keypoints": 1000,
}  # options for every point there is, to be cut to a number
TOLD = 10  # annotations that are named where some are left out
log = logging.getLogger("weakpoints")
MARGIN = 0.1  # of the landmarks' extent on each side, for boxes by the paper's rule


@dataclass(frozen=True)
class Landmarked:
    """A photograph, and where people put landmarks on it.

    landmarks: (M, 2) x, y of the visible ones, in our pixels. names: theirs.
    group: the category.
    box: x, y, w, h.
    source: the folder and stem of the annotation file.
    """

    path: Path
    group: str
    box: Rectangle
    landmarks: NDArray[np.float64]
    names: tuple[str, ...]
    source: str = ""

    @property
    def size(self) -> float:
        """max(w, h) of the box: what PCK's alpha is a share of."""
        return max(self.box[2:])


def read_coco(
    annotations: Path, images: Path, boxes: BoxSource = "annotation"
) -> tuple[Landmarked, ...]:
    """The photographs of a COCO keypoint file with at least one visible landmark.

    `app/batch/coco.py` says how it is read. `boxes="landmarks"` is the paper's rule: from the first
    to the last visible landmark, and a margin. Raises BadOption for a file that is not of this
    kind.
    """
    try:
        coco = json.loads(annotations.read_text("utf-8-sig"))
        files = {image["id"]: images / image["file_name"] for image in coco["images"]}
        categories = {category["id"]: category for category in coco["categories"]}
        rows = [
            (annotation.get("id", number), row)
            for number, annotation in enumerate(coco["annotations"])
            if len((row := _landmarked(annotation, files, categories, boxes)).landmarks)
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadOption(
            f"{annotations} can't be read as COCO keypoints: {type(error).__name__} {error}"
        ) from error
    (source,) = apart([annotations])
    if not rows:
        raise BadOption(f"{annotations} has no visible landmark")
    # A distance is a share of the box: without a size there is none.
    without = [(number, row) for number, row in rows if min(row.box[2:]) <= 0]
    if len(without) == len(rows):
        number, row = without[0]
        raise BadOption(
            f"{annotations}: no annotation has a box with a size; that of annotation {number} has "
            f"{row.box[2]:g} x {row.box[3]:g} pixels"
        )
    if without:
        numbers = ", ".join(str(number) for number, _ in without[:TOLD])
        log.warning(
            "%s: %d annotations are left out, for their boxes have no size: %s",
            annotations,
            len(without),
            numbers,
        )
    return tuple(replace(row, source=source) for _, row in rows if min(row.box[2:]) > 0)


def apart(files: Sequence[Path]) -> list[str]:
    """The folder and stem of each file; more folders where two files would have one name."""
    parts = [file.absolute().with_suffix("").parts for file in files]
    most = max(map(len, parts), default=0)
    for count in range(2, most + 1):
        names = ["/".join(part[-count:]).lstrip("/") for part in parts]
        if len(set(names)) == len(set(parts)):
            break
    return names


def sample(folder: Path, count: int) -> tuple[Path, ...]:
    """`count` photographs drawn from a folder and those below it, the same each time."""
    files = sorted(_photographs(folder))
    if not files:
        raise BadOption(f"{folder} has no photograph")
    drawn = np.random.default_rng(0).permutation(len(files))[:count]
    return tuple(files[i] for i in sorted(drawn))


def folders_by_class(folder: Path, labels: Sequence[str]) -> dict[int, tuple[Path, ...]]:
    """The photographs of each class.

    Sub-folders are named as the network's label, or by its index. Raises BadOption for a name that
    the network does not know, or that two of its classes have.
    """
    called = {name: classes_called(name, labels) for name in _names(folder)}
    unknown = [name for name, indices in called.items() if not indices]
    if unknown or not called:
        raise BadOption(
            f"the sub-folders of {folder} must be named as the network's labels, or by their "
            f"index; {', '.join(unknown[:5]) or 'there is none'}"
        )
    photographs: dict[int, tuple[Path, ...]] = {}
    for name in called:
        index = class_index(name, labels, f"a sub-folder of {folder}")
        files = sorted(path for path in _photographs(folder / name) if path.parent == folder / name)
        if files:  # a class may have two folders: one by its label, one by its index
            photographs[index] = (*photographs.get(index, ()), *files)
    return photographs


def read(path: Path) -> NDArray[np.uint8]:
    """(H, W, 3) RGB, on white where it can be seen through. Raises BadOption, which names it."""
    try:
        return split(decode(read_file(path, Limits()), Limits()))[0]
    except (OSError, WeakpointsError) as error:
        raise BadOption(f"{path}: {error}") from error


def whole(image: NDArray[np.uint8]) -> Rectangle:
    return (0, 0, image.shape[1], image.shape[0])


def detected(
    detector: Detector, image: NDArray[np.uint8], options: Options
) -> tuple[Points, Localization]:
    found = detector.locate(image, options)
    points = Points(
        np.array([(p.x, p.y) for p in found.keypoints]).reshape(-1, 2),
        np.array([p.confidence for p in found.keypoints]),
    )
    return points, found


def corner_detectors(image: NDArray[np.uint8], found: Localization) -> dict[str, Points]:
    """Each detector's points, as far apart as our candidates; `_spread`: and as our keypoints."""
    radius, sigma = suppression(found), own_sigma(found)
    plain = {name: detect(image, radius) for name, detect in CORNERS.items()}
    return plain | {f"{name}_spread": spread(points, sigma) for name, points in plain.items()}


def suppression(found: Localization) -> float:
    """The candidates' own radius, in pixels of the photograph."""
    return found.options.nms_radius * float(np.mean(found.frame.scale))


def own_sigma(found: Localization) -> float:
    """The deviation with which the keypoints were kept apart, in pixels of the photograph."""
    return sigma_of(found.maps.fine, found.frame, found.options.combine)


def landmarks_box(landmarks: NDArray[np.float64]) -> Rectangle:
    """x, y, w, h with the picture's corner as origin.

    It goes from the first to the last landmark, with a margin.
    """
    low, extent = landmarks.min(0), np.ptp(landmarks, axis=0)
    x, y, w, h = np.concatenate([low + HALF - MARGIN * extent, (1 + 2 * MARGIN) * extent]).tolist()
    return (x, y, w, h)


def _photographs(folder: Path) -> Iterator[Path]:
    """Those of a folder and below it; hidden ones and systems' own are left out."""
    for name in files_below(str(folder), Counter()):
        if Path(name).suffix.lower() in SUFFIXES:
            yield folder / name


def _names(folder: Path) -> list[str]:
    return sorted(
        path.name
        for path in folder.iterdir()
        if path.is_dir() and not is_hidden(path.name, Counter())
    )


def _landmarked(
    annotation: dict[str, Any],
    files: dict[int, Path],
    categories: dict[int, dict[str, Any]],
    boxes: BoxSource,
) -> Landmarked:
    category = categories[annotation["category_id"]]
    landmarks, names = visible_points(annotation, category)
    x, y, w, h = annotation["bbox"]
    box = (
        landmarks_box(landmarks)
        if boxes == "landmarks" and len(landmarks)
        else (float(x), float(y), float(w), float(h))
    )
    return Landmarked(files[annotation["image_id"]], category["name"], box, landmarks, names)
