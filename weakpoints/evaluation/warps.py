"""Changes to a photograph under which its keypoints should stay where they are.

Each change says where each of its points goes.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from weakpoints.evaluation.arrays import Array, Image

SHIFT = 4  # pixels: half a stride of the paper's occluder, where a grid would show
TILT = 0.12  # a homography moves each corner by up to this share of the side


@dataclass(frozen=True)
class Warp:
    """A change to a photograph, which keeps its size.

    matrix: (3, 3) homography from x, y of the photograph to x, y of the changed one.
    """

    name: str
    matrix: Array
    change: Callable[[Image], Image]

    def __call__(self, image: Image) -> Image:
        return self.change(image)

    def forward(self, points: Array) -> Array:
        return _through(self.matrix, points)

    def back(self, points: Array) -> Array:
        return _through(np.asarray(np.linalg.inv(self.matrix), np.float64), points)


def warps(width: int, height: int, rng: np.random.Generator) -> tuple[Warp, ...]:
    """The changes for a photograph of this size.

    Two homographies, the mirror image, two shifts, light, noise and JPEG.
    """
    still = np.eye(3)
    gain, gamma, noise = rng.uniform(0.6, 1.4), rng.uniform(0.7, 1.4), rng.integers(2**31)
    mirror = np.array([[-1.0, 0, width - 1], [0, 1, 0], [0, 0, 1]])
    shifts = [
        np.array([[1.0, 0, sign * SHIFT], [0, 1, sign * SHIFT], [0, 0, 1]]) for sign in (1, -1)
    ]
    moved = (
        [("homography", _tilt(width, height, rng)) for _ in range(2)]
        + [("mirror", mirror)]
        + [("shift", shift) for shift in shifts]
    )
    return (
        *(Warp(name, matrix, _mover(matrix)) for name, matrix in moved),
        Warp("light", still, lambda image: _shade(image, gain, gamma)),
        Warp("noise", still, lambda image: _grain(image, int(noise))),
        Warp("jpeg", still, _recompress),
    )


def _tilt(width: int, height: int, rng: np.random.Generator) -> Array:
    corners = np.array(
        [(0, 0), (width - 1, 0), (width - 1, height - 1), (0, height - 1)], np.float32
    )
    moved = corners + rng.uniform(-TILT, TILT, (4, 2)) * (width, height)
    return np.asarray(cv2.getPerspectiveTransform(corners, moved.astype(np.float32)), float)


def _mover(matrix: Array) -> Callable[[Image], Image]:
    def move(image: Image) -> Image:
        size = (image.shape[1], image.shape[0])
        return np.asarray(
            cv2.warpPerspective(
                image, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101
            ),
            np.uint8,
        )

    return move


def _shade(image: Image, gain: float, gamma: float) -> Image:
    return np.rint(255 * np.clip(gain * (image / 255) ** gamma, 0, 1)).astype(np.uint8)


def _grain(image: Image, seed: int) -> Image:
    noise = np.random.default_rng(seed).normal(0, 10, image.shape)
    return np.rint(np.clip(image + noise, 0, 255)).astype(np.uint8)


def _recompress(image: Image) -> Image:
    _, data = cv2.imencode(
        ".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 30]
    )
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR_RGB), np.uint8)


def _through(matrix: Array, points: Array) -> Array:
    there = np.c_[points, np.ones(len(points))] @ matrix.T
    return np.asarray(there[:, :2] / there[:, 2:])
