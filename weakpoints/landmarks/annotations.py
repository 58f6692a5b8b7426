"""COCO keypoints as people mark them (CVAT, FiftyOne, Label Studio), read with care.

Every error names the file, photograph or landmark that is wrong.
"""

import json
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weakpoints.coco import HALF
from weakpoints.errors import BadAnnotations

MOST_LANDMARKS = 256  # of one object
MOST_NAME = 200  # characters
UNFIT = ("Cc", "Cs")  # of a name: control characters, and halves of characters
VISIBILITIES = (0, 1, 2)  # COCO's
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
    images = _by_id(coco, "images", source, ("id", "file_name"))
    categories = _by_id(coco, "categories", source, ("id", "name"))
    rows = _listed(coco, "annotations", source, ("image_id", "category_id"))
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
    return one_category(_parsed(text, source), source)


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


def _by_id(
    coco: Mapping[str, Any], name: str, source: str, needed: Sequence[str]
) -> dict[int | str, dict[str, Any]]:
    """The rows of a list by their `id`, of which there is one each."""
    rows = _listed(coco, name, source, needed)
    by_id = {row["id"]: row for row in rows}
    if len(by_id) < len(rows):
        raise BadAnnotations(f"{source}: two of {name!r} have the same 'id'")
    return by_id


def _category(
    category: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    images: Mapping[int | str, Mapping[str, Any]],
    source: str,
) -> Annotations:
    names = _names(category, rows[0]["keypoints"], source)
    objects = [_object(row, names, images, source) for row in rows]
    return Annotations(
        _name(category["name"], "a category", source),
        names,
        _skeleton(category, len(names), source),
        tuple(marked for marked in objects if marked.marked.any()),
    )


def _names(category: Mapping[str, Any], keypoints: Any, source: str) -> tuple[str, ...]:
    """What the landmarks of a category are called; numbered where it names none."""
    given = category.get("keypoints")
    if given is not None and not isinstance(given, list):
        raise BadAnnotations(f"{source}: the 'keypoints' of a category are no list of names")
    if not given:
        count = len(keypoints) // 3 if isinstance(keypoints, list) else 0
        given = [f"point_{number}" for number in range(1, count + 1)]
    whose = f"a landmark of {str(category['name'])[:MOST_NAME]!r}"
    names = tuple(_name(name, whose, source) for name in given)
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise BadAnnotations(f"{source}: {whose} and another are both called {twice!r}")
    if len(names) > MOST_LANDMARKS:
        raise BadAnnotations(
            f"{source}: there are {len(names)} landmarks; at most {MOST_LANDMARKS} are taken",
            limit=MOST_LANDMARKS,
            actual=len(names),
        )
    return names


def _name(name: Any, whose: str, source: str) -> str:
    """A name that can be shown and told from others. Raises BadAnnotations."""
    text = str(name).strip() if isinstance(name, str | int) else ""
    if not text or any(unicodedata.category(character) in UNFIT for character in text):
        raise BadAnnotations(f"{source}: {whose} is called {str(name)[:40]!r}, which is no name")
    if len(text) > MOST_NAME:  # cut off, two of them could be the same
        raise BadAnnotations(
            f"{source}: the name of {whose} has {len(text)} characters, {text[:40]!r}...; at most "
            f"{MOST_NAME} are taken",
            limit=MOST_NAME,
            actual=len(text),
        )
    return text


def _skeleton(category: Mapping[str, Any], count: int, source: str) -> Skeleton:
    joined = category.get("skeleton") or []
    try:
        pairs = tuple((int(a) - 1, int(b) - 1) for a, b in joined)  # COCO counts from 1
    except (TypeError, ValueError, OverflowError) as error:
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
    images: Mapping[int | str, Mapping[str, Any]],
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
    except (TypeError, ValueError, OverflowError) as error:
        raise BadAnnotations(
            f"{source}: the keypoints of {file_name!r} are no triples x, y, visibility"
        ) from error
    if not np.isfinite(triples).all():
        raise BadAnnotations(f"{source}: a keypoint of {file_name!r} is no finite number")
    unknown = ~np.isin(triples[:, 2], VISIBILITIES)
    if unknown.any():
        raise BadAnnotations(
            f"{source}: a keypoint of {file_name!r} has visibility {triples[unknown][0, 2]:g}; "
            "COCO has 0 (not marked), 1 (hidden) and 2 (visible)",
            limit=list(VISIBILITIES),
            actual=float(triples[unknown][0, 2]),
        )
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
