"""Maps and points as pictures."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from weakpoints.images.decode import split
from weakpoints.method.frame import Frame
from weakpoints.method.localization import Keypoint, Localization
from weakpoints.options import Size, Style, Which

OPACITY = 0.6  # of the map's maximum in an overlay; the minimum is transparent
BAND = 2**16  # pixels that are mixed at once: numbers take six times the memory of colours
BRIGHT = 99.5  # percentile of the fine map from which on it is brightest
SHARP = 4  # fractional bits of the drawing coordinates


def heatmap_png(
    image: NDArray[np.uint8],
    localization: Localization,
    *,
    which: Which,
    style: Style,
    keypoints: bool,
    size: Size,
    target: int | None = None,
) -> tuple[bytes, tuple[float, float]]:
    """A PNG of one map over the photograph from `decode`, and the map's lowest and highest value.

    which: the map. target: index of the class whose map and keypoints are drawn, one of those that
    were asked for; the first of them if not given. `style=gray16` is the raw map, linear from the
    lowest value (0) to the highest (65535). Other styles show what `visible` says. keypoints: draw
    them, too. size: of the photograph, or of the network's input.
    """
    image, _ = split(image)
    shown_class = localization.explained[0] if target is None else localization.of(target)
    raw: NDArray[np.float64] = getattr(shown_class.maps, which)
    low, high = (
        float(raw[localization.frame.inside].min()),
        float(raw[localization.frame.inside].max()),
    )
    shown = raw if style == "gray16" else visible(raw, which, localization.frame.inside)
    unit = scaled(shown, localization.frame.inside)
    if size == "image":
        unit = localization.frame.map_to_image(unit).clip(0, 1)
    else:
        image = localization.frame.picture(localization.frame.near(image))
    if style == "gray16":
        return encode(np.rint(unit * 65535).astype(np.uint16)), (low, high)
    canvas = colour(unit) if style == "colormap" else overlay(image, unit)
    if keypoints:
        canvas = draw(canvas, shown_class.keypoints, localization.frame, size)
    return encode(canvas), (low, high)


def visible(
    raw: NDArray[np.float64], which: Which, inside: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """What people are shown of a map.

    Of the fused one the exponential, which is the confidence. Of the fine one a few pixels are
    several times as strong as the rest, beside which it would look black: they are cut.
    """
    if which == "fused":
        return np.exp(raw)
    if which == "fine":
        most = float(np.percentile(raw[inside], BRIGHT))
        return np.minimum(raw, most) if most > raw[inside].min() else raw
    return raw


def scaled(values: NDArray[np.float64], inside: NDArray[np.bool_]) -> NDArray[np.floating]:
    """Lowest to 0 and highest to 1 over the inside, 0 outside; all 0 where the map is constant."""
    low, high = values[inside].min(), values[inside].max()
    return np.where(inside, (values - low) / (high - low) if high > low else 0.0, 0.0)


def colour(unit: NDArray[np.floating]) -> NDArray[np.uint8]:
    """(H, W) in [0, 1] -> (H, W, 3) RGB, dark to bright.

    The colours are inferno's: their order is the same in grey and for colour-blind readers.
    """
    mapped = cv2.applyColorMap(cv2.convertScaleAbs(unit, alpha=255), cv2.COLORMAP_INFERNO)
    return np.asarray(cv2.cvtColor(mapped, cv2.COLOR_BGR2RGB), np.uint8)


def overlay(image: NDArray[np.uint8], unit: NDArray[np.floating]) -> NDArray[np.uint8]:
    """The map laid over the photograph, as opaque as it is strong."""
    canvas, height = np.empty_like(image), max(1, BAND // image.shape[1])
    for top in range(0, len(image), height):
        rows = slice(top, top + height)
        opacity = np.float32(OPACITY) * unit[rows].astype(np.float32, copy=False)
        canvas[rows] = cv2.blendLinear(image[rows], colour(unit[rows]), 1 - opacity, opacity)
    return canvas


def draw(
    canvas: NDArray[np.uint8], points: Sequence[Keypoint], frame: Frame, size: Size
) -> NDArray[np.uint8]:
    """A ring at each keypoint, on a copy; stronger ones are larger, greener and on top."""
    canvas = canvas.copy()
    radius = max(2.0, min(canvas.shape[:2]) / 70)
    for point in reversed(points):
        at = np.array([[point.x, point.y]])
        x, y = (frame.to_network(at) if size == "network" else at)[0]
        centre = (round(x * 2**SHARP), round(y * 2**SHARP))
        reach = round(radius * (0.7 + point.confidence) * 2**SHARP)
        thick = max(1, round(radius / 3))
        cv2.circle(canvas, centre, reach, (0, 0, 0), thick + 2, cv2.LINE_AA, SHARP)
        cv2.circle(canvas, centre, reach, _shade(point), thick, cv2.LINE_AA, SHARP)
    return canvas


def encode(pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> bytes:
    """PNG of (H, W) or (H, W, 3) RGB, 8 or 16 bits."""
    done, data = cv2.imencode(
        ".png", pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    )
    if not done:
        raise RuntimeError("OpenCV could not write the PNG")
    return data.tobytes()


def _shade(point: Keypoint) -> tuple[int, int, int]:
    return (round(255 * (1 - point.confidence)), 255, round(80 * (1 - point.confidence)))
