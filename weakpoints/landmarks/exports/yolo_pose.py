"""YOLO-pose: `data.yaml`, and beside it `labels` with a text file for each photograph."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from weakpoints.errors import BadAnnotations
from weakpoints.landmarks.coco_parts import MOST_LANDMARKS
from weakpoints.landmarks.exports.as_coco import SEEN, CategoryLayout, Exported, Triple, finite
from weakpoints.landmarks.exports.photographs import Photographs

LARGEST = 1_000_000  # bytes of data.yaml
BOX = 5  # figures before the points: class, centre, size


def read_dataset(
    file: Path, photographs: Photographs
) -> tuple[list[Exported], dict[str, CategoryLayout]]:
    """file: `data.yaml`. Raises BadAnnotations."""
    data = _data(file)
    labels, shape = _labels(data.get("names")), _shape(data.get("kpt_shape"))
    if not labels or shape is None:
        raise BadAnnotations(
            f"{file.name} has no `names`, or no `kpt_shape` such as [17, 3] "
            f"(at most {MOST_LANDMARKS} points)"
        )
    given = data.get("kpt_names")
    names = {
        number: [str(name) for name in _of_class(given, number)]
        or [f"point_{i}" for i in range(1, shape[0] + 1)]
        for number in labels
    }
    objects = [
        thing
        for path in sorted((file.parent / "labels").rglob("*.txt"))
        for thing in _objects(path, file.parent / "labels", labels, names, shape[1], photographs)
    ]
    skeletons = data.get("skeleton")
    layouts = {
        labels[number]: CategoryLayout(
            names[number], _pairs(_of_class(skeletons, number), len(points))
        )
        for number, points in names.items()
    }
    return objects, layouts


def _data(file: Path) -> Mapping[str, Any]:
    text = file.read_bytes()
    if len(text) > LARGEST:
        raise BadAnnotations(
            f"{file.name} has {len(text)} bytes; at most {LARGEST} are read",
            limit=LARGEST,
            actual=len(text),
        )
    try:
        data = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise BadAnnotations(f"{file.name} is not YAML: {str(error)[:200]}") from error
    if not isinstance(data, dict):
        raise BadAnnotations(f"{file.name} is no data.yaml: its outermost value is no mapping")
    return data


def _shape(shape: Any) -> tuple[int, int] | None:
    """How many points, and figures of each."""
    if not isinstance(shape, list) or len(shape) != 2 or shape[1] not in (2, 3):
        return None
    count = shape[0]
    return (count, shape[1]) if type(count) is int and 0 < count <= MOST_LANDMARKS else None


def _labels(names: Any) -> dict[int, str]:
    pairs = (
        enumerate(names)
        if isinstance(names, list)
        else names.items()
        if isinstance(names, dict)
        else ()
    )
    return {number: str(label) for number, label in pairs if isinstance(number, int)}


def _of_class(given: Any, number: int) -> list[Any]:
    """A list for each class by number, or one for all."""
    chosen = given.get(number) if isinstance(given, dict) else given
    return chosen if isinstance(chosen, list) else []


def _pairs(joined: list[Any], count: int) -> tuple[tuple[int, int], ...]:
    pairs = [tuple(pair) for pair in joined if isinstance(pair, list) and len(pair) == 2]
    return tuple(
        (a, b)
        for a, b in pairs
        if isinstance(a, int) and isinstance(b, int) and 0 <= a < count and 0 <= b < count
    )


def _objects(
    path: Path,
    root: Path,
    labels: Mapping[int, str],
    names: Mapping[int, list[str]],
    figures_each: int,
    photographs: Photographs,
) -> Iterator[Exported]:
    """figures_each: figures of a point, 2 or 3."""
    lines = [line.split() for line in path.read_text("utf-8", "replace").splitlines()]
    if not any(lines):
        return
    name = photographs.with_stem(path.relative_to(root).with_suffix("").as_posix())
    size = photographs.size(name, path.name)
    for line in filter(None, lines):
        number = int(line[0]) if line[0].isdecimal() and len(line[0]) < 10 else -1
        if number not in labels:
            raise BadAnnotations(f"{path.name} has class {line[0][:20]!r}, which is not in `names`")
        figures = [finite(figure, path.name, "a line") for figure in line[BOX:]]
        if len(figures) % figures_each or len(figures) // figures_each < len(names[number]):
            raise BadAnnotations(
                f"{path.name} has {len(figures)} figures of points; {len(names[number])} points of "
                f"{figures_each} are expected",
                limit=len(names[number]) * figures_each,
                actual=len(figures),
            )
        points = {
            point: _triple(figures[i * figures_each : (i + 1) * figures_each], size)
            for i, point in enumerate(names[number])
        }
        yield Exported(name, size, labels[number], points)


def _triple(figures: list[float], size: tuple[int, int]) -> Triple:
    """Without a visibility of its own, a point at 0, 0 is none."""
    x, y, *visibility = figures
    seen = int(visibility[0]) if visibility else SEEN * ((x, y) != (0, 0))
    return x * size[0], y * size[1], seen
