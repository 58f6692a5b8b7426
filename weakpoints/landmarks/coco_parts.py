"""Parts of a COCO file, each read with care: rows, names, skeletons, keypoints.

Every error names the file, photograph or landmark that is wrong.
"""

import json
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weakpoints.errors import BadAnnotations

MOST_LANDMARKS = 256  # of one object
MOST_NAME = 200  # characters
UNFIT = ("Cc", "Cs")  # of a name: control characters, and halves of characters
VISIBILITIES = (0, 1, 2)  # COCO's
Skeleton = tuple[tuple[int, int], ...]
"""Pairs of landmarks that are joined by a line, counted from 0."""


def parsed(text: str | bytes, source: str) -> Mapping[str, Any]:
    """source: what to call the file in an error. Raises BadAnnotations, as all here do."""
    try:
        coco = json.loads(text.decode("utf-8-sig") if isinstance(text, bytes) else text)
    except (ValueError, RecursionError) as error:
        raise BadAnnotations(f"{source} is not JSON: {error}") from error
    if not isinstance(coco, Mapping):
        raise BadAnnotations(f"{source} is not COCO keypoints: its outermost value is no object")
    return coco


def listed(
    coco: Mapping[str, Any], name: str, source: str, needed: Sequence[str]
) -> list[dict[str, Any]]:
    """The rows of a list; each has the needed fields, a number or a text."""
    rows = coco.get(name)
    if not isinstance(rows, list):
        raise BadAnnotations(f"{source} is not COCO keypoints: it has no list {name!r}")
    for number, row in enumerate(rows):
        for key in needed:
            if not isinstance(row, dict) or not isinstance(row.get(key), int | str):
                raise BadAnnotations(f"{source}: number {number} of {name!r} has no {key!r}")
    return rows


def by_id(
    coco: Mapping[str, Any], name: str, source: str, needed: Sequence[str]
) -> dict[int | str, dict[str, Any]]:
    """The rows of a list by their `id`, of which there is one each."""
    rows = listed(coco, name, source, needed)
    unique = {row["id"]: row for row in rows}
    if len(unique) < len(rows):
        raise BadAnnotations(f"{source}: two of {name!r} have the same 'id'")
    return unique


def names_of(category: Mapping[str, Any], keypoints: Any, source: str) -> tuple[str, ...]:
    """What the landmarks of a category are called; numbered where it names none."""
    given = category.get("keypoints")
    if given is not None and not isinstance(given, list):
        raise BadAnnotations(f"{source}: the 'keypoints' of a category are no list of names")
    if not given:
        count = len(keypoints) // 3 if isinstance(keypoints, list) else 0
        given = [f"point_{number}" for number in range(1, count + 1)]
    whose = f"a landmark of {str(category['name'])[:MOST_NAME]!r}"
    names = tuple(name_of(name, whose, source) for name in given)
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


def name_of(name: Any, whose: str, source: str) -> str:
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


def skeleton_of(category: Mapping[str, Any], count: int, source: str) -> Skeleton:
    """The joined pairs of `count` landmarks."""
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


def triples_of(keypoints: Any, file_name: str, source: str) -> NDArray[np.float64]:
    """(L, 3) x, y, visibility, as COCO has them."""
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
