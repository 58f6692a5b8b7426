"""The part of a photograph that is looked at, on few pixels: corners are found and refined here."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from weakpoints.method.frame import Frame, resize

DETAIL = 3  # pixels of the close-up per network pixel, at most
CORNER_SIZE = 1 / 130  # of the input's side: the deviation of the Gaussian that blurs it
BANDS = 64  # of three rows each, on which the noise of the photograph is read
SECOND_DIFFERENCE = np.array([1, -2, 1], np.float32)
# Of white noise of deviation 1, the second difference along x and y has deviation 6, and its
# absolute value a median of 0.6745 times that.
MEDIAN_OF_NOISE = 0.6745 * 6
ROUNDING = 12**-0.5  # grey levels: the deviation of what rounding to 8 bits adds


@dataclass(frozen=True)
class CloseUp:
    """frame: of its pixels. grey: (h, w) float32, grey levels.

    noise: grey levels, the deviation of the noise of each pixel. sigma: pixels, the deviation of
    the Gaussian that leaves only what the network can see.
    """

    frame: Frame
    grey: NDArray[np.float32]
    noise: float
    sigma: float

    @cached_property
    def blurred(self) -> NDArray[np.float32]:
        """(h, w): detail that the network can't see must not pull a point away."""
        return np.asarray(cv2.GaussianBlur(self.grey, (0, 0), self.sigma), np.float32)


def close_up(image: NDArray[np.uint8], near: NDArray[np.uint8], frame: Frame) -> CloseUp:
    """Of an (H, W, 3) RGB photograph: the frame's box, at most DETAIL pixels per network pixel.

    near: what `Frame.near` makes of it.
    """
    grid = frame.close_up(DETAIL)
    grey = grey_of(resize(near, *grid.content[2:]))
    # Shrinking averages white noise away. Noise that neighbours share stays, and is seen only here.
    x, y, w, h = frame.box
    shrunk = noise_of(image[y : y + h, x : x + w]) / float(np.mean(grid.scale))
    detail = float(np.mean(frame.scale / grid.scale))
    return CloseUp(grid, grey, max(shrunk, noise_of(grey)), CORNER_SIZE * frame.side * detail)


def grey_of(pixels: NDArray[Any]) -> NDArray[np.float32]:
    """(h, w) of (h, w, 3) RGB, not rounded: gradients of a large photograph are small."""
    return np.asarray(cv2.cvtColor(pixels.astype(np.float32), cv2.COLOR_RGB2GRAY))


def noise_of(picture: NDArray[Any]) -> float:
    """Grey levels: the deviation of each pixel's noise, of (H, W) grey or (H, W, 3) RGB.

    From the median of the second difference along both axes (Immerkær 1996), in which plains and
    slopes vanish, on BANDS bands of rows. Never less than rounding makes.
    """
    height, width = picture.shape[:2]
    if min(height, width) < 3:
        return ROUNDING
    tops = np.unique(np.linspace(0, height - 3, BANDS).astype(int))
    rows = picture[(tops[:, None] + np.arange(3)).ravel()]  # (3 bands, W) or (3 bands, W, 3)
    grey = grey_of(rows) if rows.ndim == 3 else rows.astype(np.float32)
    down = np.einsum("brw,r->bw", grey.reshape(len(tops), 3, width), SECOND_DIFFERENCE)
    both = down[:, :-2] - 2 * down[:, 1:-1] + down[:, 2:]
    return max(float(np.median(np.abs(both))) / MEDIAN_OF_NOISE, ROUNDING)
