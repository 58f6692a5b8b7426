"""Regions as Label Studio has them: in percent of the picture, from its corner."""

from dataclasses import dataclass
from typing import Any

Box = tuple[float, float, float, float]
PERCENT_DIGITS = 6  # of a percent: a thousandth of a pixel in a picture of 100,000
DOT = 0.6  # percent of the width that a point's dot is wide


@dataclass(frozen=True)
class Picture:
    """name: of the configuration's `<Image>`. width, height: in pixels, as people see it."""

    name: str
    width: int
    height: int


def keypoint_region(
    number: str,
    control: str,
    picture: Picture,
    place: tuple[float, float],
    label: str,
    score: float | None,
    parent: str | None = None,
    dot: float = DOT,
) -> dict[str, Any]:
    """A point; place: pixels from the corner. parent: the region it is grouped below."""
    x, y = place
    value = {
        "x": round(100 * x / picture.width, PERCENT_DIGITS),
        "y": round(100 * y / picture.height, PERCENT_DIGITS),
        "width": dot,
        "keypointlabels": [label],
    }
    grouped = {} if parent is None else {"parentID": parent}
    return _region(number, control, picture, "keypointlabels", value, score) | grouped


def rectangle_region(
    number: str, control: str, picture: Picture, box: Box, label: str, score: float | None
) -> dict[str, Any]:
    """A box; x, y, w, h in pixels from the corner."""
    x, y, width, height = box
    value = {
        "x": round(100 * x / picture.width, PERCENT_DIGITS),
        "y": round(100 * y / picture.height, PERCENT_DIGITS),
        "width": round(100 * width / picture.width, PERCENT_DIGITS),
        "height": round(100 * height / picture.height, PERCENT_DIGITS),
        "rotation": 0,
        "rectanglelabels": [label],
    }
    return _region(number, control, picture, "rectanglelabels", value, score)


def brush_region(
    number: str, control: str, picture: Picture, rle: list[int], label: str, score: float | None
) -> dict[str, Any]:
    """A mask of the picture's size; rle: see `weakpoints.images.rle`."""
    value = {"format": "rle", "rle": rle, "brushlabels": [label]}
    return _region(number, control, picture, "brushlabels", value, score)


def _region(
    number: str,
    control: str,
    picture: Picture,
    kind: str,
    value: dict[str, Any],
    score: float | None,
) -> dict[str, Any]:
    return {
        "id": number,
        "from_name": control,
        "to_name": picture.name,
        "type": kind,
        "original_width": picture.width,
        "original_height": picture.height,
        "image_rotation": 0,
        "value": value,
        **({} if score is None else {"score": round(score, 6)}),
    }
