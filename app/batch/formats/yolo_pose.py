"""YOLO-pose as Ultralytics documents it: a text file for each photograph, and `data.yaml`.

A line is `class cx cy w h x1 y1 v1 x2 y2 v2 ...`, all but class and visibility as shares of width
and height. Every class has as many points as the one with the most; those it lacks, and those that
are not visible, are 0 0 0.
"""

import json
from pathlib import Path

from app.batch.formats.files import stem_below, write_label_file
from app.batch.formats.labelled import (
    LabelledCollection,
    LabelledObject,
    LabelledPhotograph,
    box_of,
)

VISIBLE, NOT_LABELLED = 2, (0, 0, 0)
LEAST_SIDE = 1.0  # pixels of a box: one point has none, and a box of no size is dropped in training


def write_yolo_pose(out: Path, labelled: LabelledCollection) -> None:
    """`yolo-pose/labels/*.txt` and `yolo-pose/data.yaml`; photographs belong into its `images`."""
    root = out / "yolo-pose"
    classes = {category.label: i for i, category in enumerate(labelled.categories)}
    most = max((len(category.names) for category in labelled.categories), default=0)
    for photograph in labelled.photographs():
        path = root / "labels" / f"{stem_below(photograph.file_name)}.txt"
        lines = [
            _pose_line(classes[thing.label], thing, photograph, most)
            for thing in photograph.objects
            if thing.visible
        ]
        write_label_file(path, "".join(lines))
    root.mkdir(parents=True, exist_ok=True)
    (root / "data.yaml").write_text(_data_file(labelled, most), encoding="utf-8")


def _pose_line(
    number: int, thing: LabelledObject, photograph: LabelledPhotograph, most: int
) -> str:
    width, height = photograph.width, photograph.height
    left, top, w, h = box_of(thing.points) or (0.0, 0.0, 0.0, 0.0)
    right, bottom = left + w, top + h
    grow_x, grow_y = max(0.0, LEAST_SIDE - w) / 2, max(0.0, LEAST_SIDE - h) / 2
    left, right = max(0.0, left - grow_x), min(width, right + grow_x)
    top, bottom = max(0.0, top - grow_y), min(height, bottom + grow_y)
    figures: list[float] = [
        (left + right) / 2 / width,
        (top + bottom) / 2 / height,
        (right - left) / width,
        (bottom - top) / height,
    ]
    for point in thing.points:
        seen = (point.x / width, point.y / height, VISIBLE)
        figures += seen if point.visible else NOT_LABELLED
    figures += [0] * 3 * (most - len(thing.points))
    return " ".join([str(number), *(f"{figure:.8g}" for figure in figures)]) + "\n"


def _data_file(labelled: LabelledCollection, most: int) -> str:
    """YAML: JSON's texts and lists are YAML, too."""
    lines = ["path: .", "train: images", "val: images", f"kpt_shape: [{most}, 3]", "names:"]
    lines += [
        f"  {i}: {json.dumps(category.label)}" for i, category in enumerate(labelled.categories)
    ]
    lines += ["kpt_names:"]
    lines += [
        f"  {i}: {json.dumps(list(category.names))}"
        for i, category in enumerate(labelled.categories)
    ]
    lines += ["skeleton: # pairs of points that are joined, counted from 0"]
    lines += [
        f"  {i}: {json.dumps([list(pair) for pair in category.skeleton])}"
        for i, category in enumerate(labelled.categories)
    ]
    return "\n".join(lines) + "\n"
