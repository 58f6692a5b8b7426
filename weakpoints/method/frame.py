"""From a photograph to the network's input, and from the input back to the photograph's pixels.

x goes right and y down, in pixels; (0, 0) is the centre of the top-left pixel. Coordinates change
in `Frame` alone, by one conversion: (p + 0.5) * scale - 0.5.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from weakpoints.errors import BadOption
from weakpoints.options import Box, Fit, NetworkDefaults

ENOUGH = 4  # pixels per network pixel: above twice as many a photograph is halved


@dataclass(frozen=True)
class InputSpec:
    """The network's input: side in pixels, mean and deviation of RGB in [0, 1].

    defaults: of a detection; none: boxes in proportion to the side.
    """

    side: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    defaults: NetworkDefaults | None = None


@dataclass(frozen=True)
class Frame:
    """How a box of the photograph lies in the network's side x side input.

    width, height: of the photograph in pixels. box: x, y, w, h in the photograph. content: x, y, w,
    h in the input: all of it, or without the margin of a letterbox.
    """

    width: int
    height: int
    side: int
    box: Box
    content: Box

    @property
    def scale(self) -> NDArray[np.float64]:
        """(2,): pixels of the photograph per network pixel, in x and y."""
        return np.divide(self.box[2:], self.content[2:])

    @property
    def inside(self) -> NDArray[np.bool_]:
        """(S, S): which network pixels show the photograph."""
        x, y, w, h = self.content
        result = np.zeros((self.side, self.side), bool)
        result[y : y + h, x : x + w] = True
        return result

    def to_image(self, points: NDArray[np.generic]) -> NDArray[np.float64]:
        """(N, 2) x, y of network pixels -> of the photograph's."""
        return (
            (np.asarray(points, float) + 0.5 - self.content[:2]) * self.scale - 0.5 + self.box[:2]
        )

    @property
    def image_from_network(self) -> NDArray[np.float64]:
        """(2, 3), affine: it takes (x, y, 1) of a network pixel to x, y in the photograph."""
        origin = self.to_image(np.zeros((1, 2)))[0]
        return np.column_stack([np.diag(self.scale), origin])

    def to_network(self, points: NDArray[np.generic]) -> NDArray[np.float64]:
        """The inverse of `to_image`."""
        return (
            (np.asarray(points, float) + 0.5 - self.box[:2]) / self.scale - 0.5 + self.content[:2]
        )

    def near(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(h, w, 3): the box of an (H, W, 3) photograph; of a large one, halved until it is small.

        It keeps ENOUGH pixels per network pixel or more. Halves are quick, and everything behind
        reads this alone.
        """
        pixels, (w, h) = _crop(image, self.box), self.box[2:]
        while (w + h) / 2 >= 2 * ENOUGH * self.side:
            w, h = (w + 1) // 2, (h + 1) // 2
            pixels = cv2.resize(pixels, (w, h), interpolation=cv2.INTER_AREA)
        return np.asarray(pixels, np.uint8)

    def picture(
        self, near: NDArray[np.uint8], margin: Sequence[float] = (0, 0, 0)
    ) -> NDArray[np.uint8]:
        """The result of `near` -> (S, S, 3), resized into the content.

        margin: the colour around it, RGB in [0, 255].
        """
        x, y, w, h = self.content
        result = np.empty((self.side, self.side, 3), np.uint8)
        result[:] = np.rint(margin)
        result[y : y + h, x : x + w] = resize(near, w, h)
        return result

    def close_up(self, detail: float) -> "Frame":
        """The same box without margin, at `detail` pixels per network pixel.

        Never more pixels than the photograph itself has.
        """
        factor = min(1.0, detail / float(np.mean(self.scale)))
        w, h = (max(1, round(length * factor)) for length in self.box[2:])
        return Frame(self.width, self.height, max(w, h), self.box, (0, 0, w, h))

    def sampled(self, values: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        """(H, W) of the photograph: its pixel under each of the first `shape` network pixels."""
        line = np.arange(max(shape))
        x, y = np.rint(self.to_image(np.stack([line, line], 1))).astype(int).T
        rows = y[: shape[0]].clip(0, self.height - 1)
        return np.asarray(values[rows][:, x[: shape[1]].clip(0, self.width - 1)])

    def stretched(self, values: NDArray[Any], box: Box) -> NDArray[Any]:
        """(h, w, ...) of the content: the part `box` of (H, W, ...) values, resized to it."""
        return resize(_crop(values, box), *self.content[2:])

    def map_to_image(self, values: NDArray[np.floating]) -> NDArray[np.float32]:
        """(S, S) -> (H, W): a map of the input laid back over the photograph, 0 outside the box."""
        x, y, w, h = self.box
        result = np.zeros((self.height, self.width), np.float32)
        result[y : y + h, x : x + w] = resize(_crop(values, self.content).astype(np.float32), w, h)
        return result


def network_input(
    image: NDArray[np.uint8], spec: InputSpec, fit: Fit, roi: Box | None
) -> tuple[NDArray[np.float32], Frame]:
    """(1, 3, S, S) normalised RGB of an (H, W, 3) image, and the frame that leads back.

    roi: x, y, w, h of the part to look at, in pixels. Raises BadOption where it is not inside.
    """
    frame = frame_of(image.shape[1], image.shape[0], spec.side, fit, roi)
    return normalised(frame.near(image), frame, spec), frame


def normalised(near: NDArray[np.uint8], frame: Frame, spec: InputSpec) -> NDArray[np.float32]:
    """(1, 3, S, S) of what `Frame.near` gives."""
    picture = frame.picture(near, margin=[255 * mean for mean in spec.mean])
    x = ((picture / 255 - spec.mean) / spec.std).transpose(2, 0, 1)[None]
    return np.ascontiguousarray(x, np.float32)


def frame_of(width: int, height: int, side: int, fit: Fit, roi: Box | None) -> Frame:
    """How a photograph of width x height pixels lies in the side x side input.

    `squash` fills the input; `letterbox` keeps the aspect, to the whole pixel, and centres it.
    Raises BadOption for a roi that is not inside.
    """
    box = roi or (0, 0, width, height)
    x, y, w, h = box
    if min(x, y) < 0 or min(w, h) < 1 or x + w > width or y + h > height:
        raise BadOption(
            f"roi {x},{y},{w},{h} is not inside the image of {width} x {height} pixels",
            option="roi",
            limit=[width, height],
            actual=[x, y, w, h],
        )
    if fit == "squash":
        return Frame(width, height, side, box, (0, 0, side, side))
    inner_w, inner_h = (max(1, round(side * length / max(w, h))) for length in (w, h))
    return Frame(
        width, height, side, box, ((side - inner_w) // 2, (side - inner_h) // 2, inner_w, inner_h)
    )


def _crop(image: NDArray[Any], box: Box) -> NDArray[Any]:
    x, y, w, h = box
    return image[y : y + h, x : x + w]


def resize(image: NDArray[Any], width: int, height: int) -> NDArray[Any]:
    """Mean of areas along an axis that shrinks, linear along one that grows.

    In one step where both do the same, so that values are rounded once.
    """
    narrower, lower = width < image.shape[1], height < image.shape[0]
    steps = [(width, height)] if narrower == lower else [(width, image.shape[0]), (width, height)]
    for w, h in steps:
        shrinks = w < image.shape[1] or h < image.shape[0]
        image = cv2.resize(
            image, (w, h), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        )
    return image
