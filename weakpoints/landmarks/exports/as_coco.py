"""Objects of any export, as the COCO keypoints that `annotations.py` reads and checks."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from weakpoints.errors import BadAnnotations
from weakpoints.landmarks.annotations import Skeleton

OBJECT = "object"  # the category of points that no box and no skeleton names
NOT_MARKED, HIDDEN, SEEN = 0, 1, 2  # COCO's visibility
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
class Layout:
    """What an export says of a category: its landmarks in their order, and which are joined."""

    names: Sequence[str] = ()
    skeleton: Skeleton = field(default=())


def as_coco(objects: Sequence[Exported], layouts: Mapping[str, Layout]) -> dict[str, Any]:
    """layouts: by category. Names that they don't have come after theirs, as they occur."""
    categories = {label: i for i, label in enumerate(dict.fromkeys(o.category for o in objects), 1)}
    names = {label: dict.fromkeys(layouts.get(label, Layout()).names) for label in categories}
    for thing in objects:
        names[thing.category] |= dict.fromkeys(thing.points)
    images = {name: i for i, name in enumerate(dict.fromkeys(o.file_name for o in objects), 1)}
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
                "skeleton": [[a + 1, b + 1] for a, b in layouts.get(label, Layout()).skeleton],
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
        return float(value)
    except (ValueError, OverflowError) as error:
        raise BadAnnotations(
            f"{source}: {where} has {str(value)[:40]!r} where a number belongs"
        ) from error
