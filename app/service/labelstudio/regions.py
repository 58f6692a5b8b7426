"""From answers to Label Studio's regions."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.schemas.labelstudio import (
    Picture,
    brush_region,
    keypoint_region,
    rectangle_region,
)
from app.service.labelstudio.configuration import Configuration
from weakpoints.coco import HALF
from weakpoints.errors import BadAnnotations
from weakpoints.images.rle import mask_to_rle
from weakpoints.landmarks.exports.as_coco import finite, size_of
from weakpoints.landmarks.named import Named
from weakpoints.method.localization import Localization

BRUSHED = 0.1  # of the map, where it is highest
StudioRegion = dict[str, Any]
RegionBox = tuple[float, float, float, float]


def named_regions(
    objects: Sequence[Named], category: str, configuration: Configuration, boxes: bool
) -> list[StudioRegion]:
    """Of each object the box and the visible points whose names are labels of the project's."""
    regions = list[StudioRegion]()
    for number, named in enumerate(objects):
        picture, group = _task_picture(configuration, named), f"o{number}"
        seen = [
            point
            for point in named.landmarks
            if point.visible and point.confidence >= configuration.least
        ]
        if not seen:
            continue
        score = sum(point.confidence for point in seen) / len(seen)
        classes = [category, *(likely.label for likely in named.top)]
        box = list(_box(group, configuration, picture, named.bbox, classes, score)) if boxes else []
        regions += box
        for i, point in enumerate(seen):
            if configuration.points and configuration.points.has(point.name):
                regions.append(
                    keypoint_region(
                        f"{group}p{i}",
                        configuration.points.name,
                        picture,
                        (point.x + HALF, point.y + HALF),
                        point.name,
                        point.confidence,
                        group if box else None,
                        configuration.dot,
                    )
                )
    return regions


def unnamed_regions(
    localization: Localization, configuration: Configuration, boxes: bool
) -> list[StudioRegion]:
    """The box of the first class, and its keypoints where the project has a label for them."""
    picture, group, label = (
        _task_picture(configuration, localization),
        "o0",
        localization.target.label,
    )
    score = localization.target.probability
    regions = (
        list(_box(group, configuration, picture, localization.bbox, [label], score))
        if boxes
        else []
    )
    parent = group if regions else None
    for rank, point in enumerate(localization.explained[0].keypoints):
        name = configuration.label_of_point(rank, [label])
        if name is not None and configuration.points and point.confidence >= configuration.least:
            place = point.x + HALF, point.y + HALF
            regions.append(
                keypoint_region(
                    f"{group}p{rank}",
                    configuration.points.name,
                    picture,
                    place,
                    name,
                    point.confidence,
                    parent,
                    configuration.dot,
                )
            )
    return regions


def brush_regions(
    localization: Localization, configuration: Configuration
) -> Iterator[StudioRegion]:
    """The tenth of what was looked at where the fused map is highest."""
    brushes = configuration.brushes
    label = brushes.of_class([localization.target.label]) if brushes else None
    if brushes and label is not None:
        picture, rle = (
            _task_picture(configuration, localization),
            mask_to_rle(brushed(localization)),
        )
        yield brush_region(
            "map", brushes.name, picture, rle, label, localization.target.probability
        )


def brushed(localization: Localization) -> NDArray[np.bool_]:
    """(height, width) of the photograph: where the fused map is in its highest tenth."""
    fused = localization.maps.fused
    high = fused >= np.quantile(fused[np.isfinite(fused)], 1 - BRUSHED)
    # where each column and row of the photograph lies in the network's input
    columns = _nearest(localization.frame.to_network(_along(localization.width, 0))[:, 0], high)
    rows = _nearest(localization.frame.to_network(_along(localization.height, 1))[:, 1], high)
    bordered = np.pad(high, (0, 1))  # False for what was not looked at
    return np.asarray(bordered[np.ix_(rows, columns)])


def _along(length: int, axis: int) -> NDArray[np.float64]:
    """(length, 2): the pixels along an axis of the photograph."""
    places = np.zeros((length, 2))
    places[:, axis] = np.arange(length)
    return places


def _nearest(places: NDArray[np.float64], square: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The nearest index of a side; behind the last one for a place outside."""
    nearest = np.rint(places).astype(np.int64)
    inside = (nearest >= 0) & (nearest < len(square))
    return np.where(inside, nearest, len(square))


def drawn_boxes(context: Any) -> list[tuple[int, int, int, int]]:
    """Rectangles that were just drawn, in whole pixels: x, y, w, h."""
    regions = context.get("result") if isinstance(context, dict) else None
    boxes = []
    for region in regions if isinstance(regions, list) else []:
        value = region.get("value") if isinstance(region, dict) else None
        if isinstance(value, dict) and "width" in value and "height" in value:
            box = _whole_pixels(value, region)
            if box is not None:
                boxes.append(box)
    return boxes


def _whole_pixels(value: StudioRegion, region: StudioRegion) -> tuple[int, int, int, int] | None:
    """Grown to whole pixels, inside the picture; None for what is no rectangle."""
    try:
        width, height = size_of(region, "original_width", "original_height", "a rectangle")
        x, y, w, h = (
            finite(value.get(name), "a rectangle", name) for name in ("x", "y", "width", "height")
        )
    except BadAnnotations:
        return None
    left, right = _clipped(x, x + w, width)
    top, bottom = _clipped(y, y + h, height)
    if left >= right or top >= bottom:
        return None
    return left, top, right - left, bottom - top


def _clipped(low: float, high: float, side: int) -> tuple[int, int]:
    """From percents to pixels."""
    inside = [min(max(share, 0.0), 100.0) * side / 100 for share in (low, high)]
    return math.floor(inside[0]), math.ceil(inside[1])


def _task_picture(configuration: Configuration, localization: Named | Localization) -> Picture:
    return Picture(configuration.image, localization.width, localization.height)


def _box(
    number: str,
    configuration: Configuration,
    picture: Picture,
    bbox: RegionBox | None,
    classes: Sequence[str],
    score: float,
) -> Iterator[StudioRegion]:
    """Where the project has a rectangle's label, and boxes are wanted."""
    rectangles = configuration.rectangles
    label = rectangles.of_class(classes) if rectangles and configuration.boxes else None
    if rectangles and label is not None and bbox is not None:
        x, y, w, h = bbox
        place = x + HALF, y + HALF, w, h
        yield rectangle_region(number, rectangles.name, picture, place, label, score)
