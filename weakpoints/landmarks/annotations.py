"""COCO keypoints as people mark them (CVAT, FiftyOne, Label Studio), read with care.

Every error names the file, photograph or landmark that is wrong.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weakpoints.coco import HALF
from weakpoints.errors import BadAnnotations
from weakpoints.landmarks.coco_parts import (
    Skeleton,
    by_id,
    listed,
    name_of,
    names_of,
    parsed,
    skeleton_of,
    triples_of,
)


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
    return categories_of(parsed(text, source), source)


def categories_of(coco: Mapping[str, Any], source: str) -> tuple[Annotations, ...]:
    """The same of COCO that is read already."""
    images = by_id(coco, "images", source, ("id", "file_name"))
    categories = by_id(coco, "categories", source, ("id", "name"))
    rows = listed(coco, "annotations", source, ("image_id", "category_id"))
    for row in rows:
        if row["category_id"] not in categories:
            raise BadAnnotations(
                f"{source}: an annotation is of category {row['category_id']!r}, which is not in "
                "'categories'"
            )
    read = []
    for number, category in categories.items():
        own = [row for row in rows if row["category_id"] == number and row.get("keypoints")]
        if own:
            read.append(_category(category, own, images, source))
    marked = tuple(annotations for annotations in read if annotations.objects)
    if not marked:
        raise BadAnnotations(f"{source} has no object with a marked landmark")
    return marked


def read_annotations(text: str | bytes, source: str) -> Annotations:
    """The one category of a file. Raises BadAnnotations where there are several."""
    return one_category(parsed(text, source), source)


def one_category(coco: Mapping[str, Any], source: str) -> Annotations:
    """The same of COCO that is read already."""
    categories = categories_of(coco, source)
    if len(categories) > 1:
        names = ", ".join(repr(annotations.category) for annotations in categories)
        raise BadAnnotations(
            f"{source} has landmarks of {len(categories)} categories, {names}; "
            "a landmark set has one",
            limit=1,
            actual=len(categories),
        )
    return categories[0]


def _category(
    category: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    images: Mapping[int | str, Mapping[str, Any]],
    source: str,
) -> Annotations:
    names = names_of(category, rows[0]["keypoints"], source)
    objects = [_object(row, names, images, source) for row in rows]
    return Annotations(
        name_of(category["name"], "a category", source),
        names,
        skeleton_of(category, len(names), source),
        tuple(marked for marked in objects if marked.marked.any()),
    )


def _object(
    row: Mapping[str, Any],
    names: Sequence[str],
    images: Mapping[int | str, Mapping[str, Any]],
    source: str,
) -> Marked:
    image = images.get(row["image_id"])
    if image is None:
        raise BadAnnotations(
            f"{source}: an annotation is of image {row['image_id']!r}, which is not in 'images'"
        )
    file_name = str(image["file_name"])
    triples = triples_of(row["keypoints"], file_name, source)
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


def check_inside(marked: Marked, names: Sequence[str], size: tuple[int, int], source: str) -> None:
    """Raises BadAnnotations for a marked landmark outside of a photograph of width x height."""
    outside = (marked.places < -HALF) | (marked.places > np.array(size) - HALF)
    wrong = np.flatnonzero(outside.any(1) & marked.marked)
    if len(wrong):
        x, y = marked.places[wrong[0]] + HALF
        raise BadAnnotations(
            f"{source}: landmark {names[wrong[0]]!r} of {marked.file_name!r} is at "
            f"{x:.6g}, {y:.6g}, outside of {size[0]} x {size[1]} pixels",
            limit=list(size),
            actual=[round(float(x), 1), round(float(y), 1)],
        )
