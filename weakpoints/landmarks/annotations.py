"""COCO keypoints as people mark them (CVAT, FiftyOne, Label Studio), read with care.

Every error names the file, photograph or landmark that is wrong.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weakpoints.coco import HALF
from weakpoints.errors import BadAnnotations

MOST_LANDMARKS = 256  # of one object
MOST_NAME = 200  # characters
Skeleton = tuple[tuple[int, int], ...]
"""Pairs of landmarks that are joined by a line, counted from 0."""


@dataclass(frozen=True)
class Marked:
    """One object of a photograph: (L, 2) x, y in our pixels, and which of them are marked."""

    file_name: str
    size: tuple[int, int]
    places: NDArray[np.float64]
    marked: NDArray[np.bool_]


@dataclass(frozen=True)
class Annotations:
    """The objects of one category: what its landmarks are called, and how they are joined."""

    category: str
    names: tuple[str, ...]
    skeleton: Skeleton
    objects: tuple[Marked, ...]


def read_categories(text: str | bytes, source: str) -> tuple[Annotations, ...]:
    """Every category with a marked object, in the file's order. Raises BadAnnotations.

    source: what to call the file. A keypoint of visibility 0 is not marked; 1 (hidden) is not
    either: what is not seen can't be found.
    """
    return categories_of(_parsed(text, source), source)


def categories_of(coco: Mapping[str, Any], source: str) -> tuple[Annotations, ...]:
    """The same of COCO that is read already."""
    images = {each["id"]: each for each in _listed(coco, "images", source, ("id", "file_name"))}
    found = []
    for category in _listed(coco, "categories", source, ("id", "name")):
        rows = [
            row
            for row in _listed(coco, "annotations", source, ("image_id", "category_id"))
            if row["category_id"] == category["id"] and row.get("keypoints")
        ]
        if rows:
            found.append(_category(category, rows, images, source))
    if not any(each.objects for each in found):
        raise BadAnnotations(f"{source} has no object with a marked landmark")
    return tuple(each for each in found if each.objects)


def read_annotations(text: str | bytes, source: str) -> Annotations:
    """The one category of a file. Raises BadAnnotations where there are several."""
    return one_category(_parsed(text, source), source)


def one_category(coco: Mapping[str, Any], source: str) -> Annotations:
    """The same of COCO that is read already."""
    categories = categories_of(coco, source)
    if len(categories) > 1:
        names = ", ".join(repr(each.category) for each in categories)
        raise BadAnnotations(
            f"{source} has landmarks of {len(categories)} categories, {names}; "
            "a landmark set has one",
            limit=1,
            actual=len(categories),
        )
    return categories[0]


def _parsed(text: str | bytes, source: str) -> Mapping[str, Any]:
    try:
        coco = json.loads(text.decode("utf-8-sig") if isinstance(text, bytes) else text)
    except (ValueError, RecursionError) as error:
        raise BadAnnotations(f"{source} is not JSON: {error}") from error
    if not isinstance(coco, Mapping):
        raise BadAnnotations(f"{source} is not COCO keypoints: its outermost value is no object")
    return coco


def _listed(
    coco: Mapping[str, Any], name: str, source: str, needed: Sequence[str]
) -> list[dict[str, Any]]:
    rows = coco.get(name)
    if not isinstance(rows, list):
        raise BadAnnotations(f"{source} is not COCO keypoints: it has no list {name!r}")
    for number, row in enumerate(rows):
        for key in needed:
            if not isinstance(row, dict) or not isinstance(row.get(key), int | str):
                raise BadAnnotations(f"{source}: number {number} of {name!r} has no {key!r}")
    return rows


def _category(
    category: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    images: Mapping[int, Mapping[str, Any]],
    source: str,
) -> Annotations:
    name = str(category["name"])
    names = category.get("keypoints")
    if not isinstance(names, list) or not names:
        count = len(rows[0]["keypoints"]) // 3
        names = [f"point_{number}" for number in range(1, count + 1)]
    names = tuple(str(each)[:MOST_NAME] for each in names)
    if len(set(names)) < len(names):
        twice = next(each for each in names if names.count(each) > 1)
        raise BadAnnotations(f"{source}: two landmarks of {name!r} are called {twice!r}")
    if len(names) > MOST_LANDMARKS:
        raise BadAnnotations(
            f"{source}: {name!r} has {len(names)} landmarks; at most {MOST_LANDMARKS} are taken",
            limit=MOST_LANDMARKS,
            actual=len(names),
        )
    objects = [_object(row, names, images, source) for row in rows]
    return Annotations(
        name,
        names,
        _skeleton(category, len(names), source),
        tuple(each for each in objects if each.marked.any()),
    )


def _skeleton(category: Mapping[str, Any], count: int, source: str) -> Skeleton:
    joined = category.get("skeleton") or []
    try:
        pairs = tuple((int(a) - 1, int(b) - 1) for a, b in joined)  # COCO counts from 1
    except (TypeError, ValueError) as error:
        raise BadAnnotations(f"{source}: the skeleton is no list of pairs: {error}") from error
    for pair in pairs:
        if not all(0 <= end < count for end in pair):
            raise BadAnnotations(
                f"{source}: the skeleton joins landmarks {pair[0] + 1} and {pair[1] + 1}; "
                f"there are {count}, counted from 1",
                limit=count,
                actual=max(pair) + 1,
            )
    return pairs


def _object(
    row: Mapping[str, Any],
    names: Sequence[str],
    images: Mapping[int, Mapping[str, Any]],
    source: str,
) -> Marked:
    image = images.get(row["image_id"])
    if image is None:
        raise BadAnnotations(
            f"{source}: an annotation is of image {row['image_id']!r}, which is not in 'images'"
        )
    file_name = str(image["file_name"])
    triples = _triples(row["keypoints"], file_name, source)
    if len(triples) != len(names):
        raise BadAnnotations(
            f"{source}: {file_name!r} has {len(triples)} keypoints; its category names "
            f"{len(names)}",
            limit=len(names),
            actual=len(triples),
        )
    places, marked = triples[:, :2] - HALF, triples[:, 2] == 2
    if (triples[:, 2] == 1).any() and not marked.any():
        marked = triples[:, 2] > 0  # some tools write 1 for every point that is there
    width, height = image.get("width"), image.get("height")
    size = (width, height) if isinstance(width, int) and isinstance(height, int) else (0, 0)
    if all(size):
        check_inside(Marked(file_name, size, places, marked), names, size, source)
    return Marked(file_name, size, np.where(marked[:, None], places, 0.0), marked)


def _triples(keypoints: Any, file_name: str, source: str) -> NDArray[np.float64]:
    try:
        triples = np.array(keypoints, float).reshape(-1, 3)
    except (TypeError, ValueError) as error:
        raise BadAnnotations(
            f"{source}: the keypoints of {file_name!r} are no triples x, y, visibility"
        ) from error
    if not np.isfinite(triples).all():
        raise BadAnnotations(f"{source}: a keypoint of {file_name!r} is no finite number")
    return triples


def check_inside(marked: Marked, names: Sequence[str], size: tuple[int, int], source: str) -> None:
    """Raises BadAnnotations for a marked landmark outside of a photograph of width x height."""
    outside = (marked.places < -HALF) | (marked.places > np.array(size) - HALF)
    wrong = np.flatnonzero(outside.any(1) & marked.marked)
    if len(wrong):
        x, y = marked.places[wrong[0]] + HALF
        raise BadAnnotations(
            f"{source}: landmark {names[wrong[0]]!r} of {marked.file_name!r} is at "
            f"{x:.1f}, {y:.1f}, outside of {size[0]} x {size[1]} pixels",
            limit=list(size),
            actual=[round(float(x), 1), round(float(y), 1)],
        )
