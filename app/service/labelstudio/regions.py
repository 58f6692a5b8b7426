"""From answers to Label Studio's regions."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import cv2
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
from weakpoints.images.rle import mask_to_rle
from weakpoints.landmarks.named import Named
from weakpoints.method.localization import Localization

BRUSHED = 0.1  # of the map, where it is highest
Region = dict[str, Any]
Box = tuple[float, float, float, float]


def named_regions(
    found: Sequence[Named], category: str, configuration: Configuration, boxes: bool
) -> list[Region]:
    """Of each object the box and the visible points whose names are labels of the project's."""
    regions = list[Region]()
    for number, named in enumerate(found):
        picture, group = _picture(configuration, named), f"o{number}"
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


def unnamed_regions(found: Localization, configuration: Configuration, boxes: bool) -> list[Region]:
    """The box of the first class, and its keypoints where the project has a label for them."""
    picture, group, label = _picture(configuration, found), "o0", found.target.label
    score = found.target.probability
    regions = list(_box(group, configuration, picture, found.bbox, [label], score)) if boxes else []
    parent = group if regions else None
    for rank, point in enumerate(found.explained[0].keypoints):
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


def brush_regions(found: Localization, configuration: Configuration) -> Iterator[Region]:
    """The tenth of what was looked at where the fused map is highest."""
    brushes = configuration.brushes
    label = brushes.of_class([found.target.label]) if brushes else None
    if brushes and label is not None:
        picture, rle = _picture(configuration, found), mask_to_rle(brushed(found))
        yield brush_region("map", brushes.name, picture, rle, label, found.target.probability)


def brushed(found: Localization) -> NDArray[np.bool_]:
    """(height, width) of the photograph: where the fused map is in its highest tenth."""
    fused = found.maps.fused
    high = fused >= np.quantile(fused[np.isfinite(fused)], 1 - BRUSHED)
    # the pixels of the photograph, and where they lie in the network's input
    xs = found.frame.to_network(_places(np.arange(found.width), 0))[:, 0]
    ys = found.frame.to_network(_places(np.arange(found.height), 1))[:, 1]
    grid = np.meshgrid(xs.astype(np.float32), ys.astype(np.float32))
    nearest = cv2.remap(high.astype(np.uint8), *grid, cv2.INTER_NEAREST, borderValue=0)
    return nearest > 0


def drawn_boxes(context: Any) -> list[tuple[int, int, int, int]]:
    """Rectangles that were just drawn, in whole pixels: x, y, w, h."""
    regions = context.get("result") if isinstance(context, dict) else None
    boxes = []
    for region in regions if isinstance(regions, list) else []:
        value = region.get("value") if isinstance(region, dict) else None
        if isinstance(value, dict) and "width" in value and "height" in value:
            box = _whole(value, region)
            if box is not None:
                boxes.append(box)
    return boxes


def _whole(value: Region, region: Region) -> tuple[int, int, int, int] | None:
    """Grown to whole pixels, inside the picture; None for what is no rectangle."""
    figures = [value.get(name) for name in ("x", "y", "width", "height")]
    width, height = region.get("original_width"), region.get("original_height")
    if type(width) is not int or type(height) is not int:
        return None
    numbers = [float(f) for f in figures if isinstance(f, int | float) and math.isfinite(f)]
    if len(numbers) != len(figures):
        return None
    x, y, w, h = numbers
    left, right = _span(x, x + w, width)
    top, bottom = _span(y, y + h, height)
    if left >= right or top >= bottom:
        return None
    return left, top, right - left, bottom - top


def _span(low: float, high: float, side: int) -> tuple[int, int]:
    """From percents to pixels."""
    inside = [min(max(share, 0.0), 100.0) * side / 100 for share in (low, high)]
    return math.floor(inside[0]), math.ceil(inside[1])


def _places(along: NDArray[np.int64], axis: int) -> NDArray[np.float64]:
    places = np.zeros((len(along), 2))
    places[:, axis] = along
    return places


def _picture(configuration: Configuration, found: Named | Localization) -> Picture:
    return Picture(configuration.image, found.width, found.height)


def _box(
    number: str,
    configuration: Configuration,
    picture: Picture,
    bbox: Box | None,
    classes: Sequence[str],
    score: float,
) -> Iterator[Region]:
    """Where the project has a rectangle's label, and boxes are wanted."""
    rectangles = configuration.rectangles
    label = rectangles.of_class(classes) if rectangles and configuration.boxes else None
    if rectangles and label is not None and bbox is not None:
        x, y, w, h = bbox
        place = x + HALF, y + HALF, w, h
        yield rectangle_region(number, rectangles.name, picture, place, label, score)
