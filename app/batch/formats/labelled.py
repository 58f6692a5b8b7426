"""What every format writes: objects with points, in pixels from the picture's corner."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from app.batch.named_tables import category_of
from app.batch.records import ResultRow
from app.batch.tables import TableRows, good_rows, keypoints_by_class
from weakpoints.coco import HALF

PixelBox = tuple[float, float, float, float]
PIXEL_DIGITS = 3  # of a pixel, as the service answers


@dataclass(frozen=True)
class LabelledPoint:
    """x, y from the corner; the centre of the first pixel is at 0.5, 0.5."""

    name: str
    x: float
    y: float
    visible: bool
    confidence: float


@dataclass(frozen=True)
class LabelledObject:
    """label: its category's. box: x, y, w, h of its visible points; None where it has none.

    score: in [0, 1]; None where it is not known.
    """

    label: str
    points: tuple[LabelledPoint, ...]
    box: PixelBox | None
    score: float | None

    @property
    def visible(self) -> tuple[LabelledPoint, ...]:
        return tuple(point for point in self.points if point.visible)


@dataclass(frozen=True)
class LabelledPhotograph:
    number: int
    file_name: str
    width: int
    height: int
    objects: tuple[LabelledObject, ...]


@dataclass(frozen=True)
class Category:
    """label: no other has it. names: of its points, in their order; none where they have none.

    skeleton: pairs of names' indices that are joined.
    """

    label: str
    names: tuple[str, ...] = ()
    skeleton: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class LabelledCollection:
    """What a batch found, to be read any number of times.

    folder: where the photographs are, if they are on this machine. version: of what found them.
    """

    photographs: Callable[[], Iterator[LabelledPhotograph]]
    categories: tuple[Category, ...]
    folder: str | None
    version: str


def labelled_collection(
    rows: TableRows,
    ids: Mapping[str, int],
    labels: Sequence[str],
    categories: Sequence[Mapping[str, Any]] | None,
    folder: str | None,
    version: str,
) -> LabelledCollection:
    """Of a batch's rows. labels: the network's; categories: of named points, as COCO has them."""
    if categories is None:
        photographs = partial(unnamed_photographs, rows, ids, labels)
        kinds = unnamed_categories(photographs())
    else:
        photographs = partial(named_photographs, rows, ids, categories)
        kinds = named_categories(categories)
    return LabelledCollection(photographs, kinds, folder, version)


def named_categories(categories: Sequence[Mapping[str, Any]]) -> tuple[Category, ...]:
    """From COCO's, whose skeleton counts from 1."""
    labels = distinct([category["name"] for category in categories])
    return tuple(
        Category(
            label,
            tuple(category["keypoints"]),
            tuple((a - 1, b - 1) for a, b in category["skeleton"]),
        )
        for label, category in zip(labels, categories, strict=True)
    )


def named_photographs(
    rows: TableRows, ids: Mapping[str, int], categories: Sequence[Mapping[str, Any]]
) -> Iterator[LabelledPhotograph]:
    """Of rows with landmarks; at most one object a photograph."""
    known = {category["id"]: category for category in categories}
    labels = dict(zip(known, distinct([category["name"] for category in categories]), strict=True))
    for number, row in good_rows(rows, ids):
        objects = []
        if row.landmarks:
            points = tuple(
                LabelledPoint(
                    point.name, _corner(point.x), _corner(point.y), point.visible, point.confidence
                )
                for point in row.landmarks
            )
            seen = [point.confidence for point in points if point.visible]
            score = sum(seen) / len(seen) if seen else 0.0
            label = labels[category_of(row, known)]
            objects = [LabelledObject(label, points, box_of(points), score)]
        yield _photograph_of(number, row, objects)


def unnamed_photographs(
    rows: TableRows, ids: Mapping[str, int], labels: Sequence[str]
) -> Iterator[LabelledPhotograph]:
    """An object for each class that was explained; its points are called like it."""
    labels = distinct(labels)
    for number, row in good_rows(rows, ids):
        objects = []
        for target, keypoints in keypoints_by_class(row).items():
            points = tuple(
                LabelledPoint(
                    labels[target], _corner(point.x), _corner(point.y), True, point.confidence
                )
                for point in keypoints
            )
            score = row.probability if target == row.class_id else None
            objects.append(LabelledObject(labels[target], points, box_of(points), score))
        yield _photograph_of(number, row, objects)


def unnamed_categories(photographs: Iterator[LabelledPhotograph]) -> tuple[Category, ...]:
    """The classes that occur."""
    labels = {labelled.label for photograph in photographs for labelled in photograph.objects}
    return tuple(Category(label) for label in sorted(labels))


def distinct(labels: Sequence[str]) -> list[str]:
    """The labels; those that occur twice (ImageNet has two cranes) with their number from 0."""
    count = Counter(labels)
    return [label if count[label] == 1 else f"{label} {i}" for i, label in enumerate(labels)]


def box_of(points: Sequence[LabelledPoint]) -> PixelBox | None:
    xs = [point.x for point in points if point.visible]
    ys = [point.y for point in points if point.visible]
    if not xs:
        return None
    width, height = max(xs) - min(xs), max(ys) - min(ys)
    return min(xs), min(ys), round(width, PIXEL_DIGITS), round(height, PIXEL_DIGITS)


def _corner(place: float) -> float:
    return round(place + HALF, PIXEL_DIGITS)


def _photograph_of(
    number: int, row: ResultRow, objects: Sequence[LabelledObject]
) -> LabelledPhotograph:
    size = row.width or 0, row.height or 0
    return LabelledPhotograph(number, row.file_name, *size, tuple(objects))
