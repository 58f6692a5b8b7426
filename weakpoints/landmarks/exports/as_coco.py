"""Objects of any export, as the COCO keypoints that `annotations.py` reads and checks."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from weakpoints.errors import BadAnnotations
from weakpoints.landmarks.coco_parts import Skeleton

OBJECT = "object"  # the category of points that no box and no skeleton names
NOT_MARKED, HIDDEN, SEEN = 0, 1, 2  # COCO's visibility
LONGEST_SIDE = 1_000_000  # pixels
Triple = tuple[float, float, int]
"""x, y in pixels from the picture's corner, and COCO's visibility."""


@dataclass(frozen=True)
class Exported:
    """One object. size: width and height of its photograph. points: by name."""

    file_name: str
    size: tuple[int, int]
    category: str
    points: Mapping[str, Triple]


@dataclass(frozen=True)
class CategoryLayout:
    """What an export says of a category: its landmarks in their order, and which are joined."""

    names: Sequence[str] = ()
    skeleton: Skeleton = field(default=())


def as_coco(objects: Sequence[Exported], layouts: Mapping[str, CategoryLayout]) -> dict[str, Any]:
    """layouts: by category. Names that they don't have come after theirs, as they occur."""
    categories = {label: i for i, label in enumerate(_once(objects, "category"), 1)}
    names = {
        label: dict.fromkeys(layouts.get(label, CategoryLayout()).names) for label in categories
    }
    for thing in objects:
        names[thing.category] |= dict.fromkeys(thing.points)
    images = {name: i for i, name in enumerate(_once(objects, "file_name"), 1)}
    sizes = {thing.file_name: thing.size for thing in objects}
    return {
        "images": [
            {"id": i, "file_name": name, "width": sizes[name][0], "height": sizes[name][1]}
            for name, i in images.items()
        ],
        "categories": [
            {
                "id": i,
                "name": label,
                "keypoints": list(names[label]),
                "skeleton": [
                    [a + 1, b + 1] for a, b in layouts.get(label, CategoryLayout()).skeleton
                ],
            }
            for label, i in categories.items()
        ],
        "annotations": [
            {
                "image_id": images[thing.file_name],
                "category_id": categories[thing.category],
                "keypoints": [
                    figure
                    for name in names[thing.category]
                    for figure in thing.points.get(name, (0.0, 0.0, NOT_MARKED))
                ],
            }
            for thing in objects
        ],
    }


def _once(objects: Sequence[Exported], name: str) -> list[str]:
    """A field's values, each once, in the order in which they occur."""
    return list(dict.fromkeys(getattr(thing, name) for thing in objects))


def once(points: Iterable[tuple[str, Triple]], source: str, where: str) -> dict[str, Triple]:
    """By name. Raises BadAnnotations where one object has two of the same."""
    by_name: dict[str, Triple] = {}
    for name, triple in points:
        if name in by_name:
            raise BadAnnotations(
                f"{source}: {where} has two landmarks called {name!r} in one object; where there "
                "are several objects, group the points of each",
                actual=name,
            )
        by_name[name] = triple
    return by_name


def finite(value: object, source: str, where: str) -> float:
    """A number of an export. Raises BadAnnotations."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise BadAnnotations(f"{source}: {where} has {str(value)[:40]!r} where a number belongs")
    try:
        number = float(value)
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise BadAnnotations(f"{source}: {where} has {_shown(value)!r} where a number belongs")
    return number


def size_of(holder: Mapping[str, Any], width: str, height: str, source: str) -> tuple[int, int]:
    """Of a photograph, in the fields of these names. Raises BadAnnotations."""
    sides = holder.get(width), holder.get(height)
    known = [side for side in sides if type(side) is int and 0 < side <= LONGEST_SIDE]
    if len(known) != len(sides):
        raise BadAnnotations(f"{source} has no `{width}` and `{height}` in pixels")
    return known[0], known[1]


def _shown(value: object) -> str:
    """An integer of thousands of digits has no text in Python."""
    return "a number too large" if isinstance(value, int) else str(value)[:40]
