"""From a log-likelihood map to points: corners, non-maximum suppression, the soft threshold, and Förstner's refinement."""

import math
from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

T = TypeVar("T", bound=np.generic)
EVEN = 1e-5  # of the smaller eigenvalue, in grey levels squared: below it there is only rounding
MIN_ROUNDNESS = 0.1  # of 4 det(A) / trace(A)^2: 1 for a corner, 0 for an edge, along which no position is better than another


@dataclass(frozen=True)
class Refined:
    """points: (N, 2) x, y in image pixels; covariance: (N, 2, 2) in pixels squared, NaN where `refined` (N,) is false."""

    points: NDArray[np.float64]
    covariance: NDArray[np.float64]
    refined: NDArray[np.bool_]


def corner_likelihood(picture: NDArray[np.uint8], sigma: float) -> NDArray[np.float64]:
    """(H, W) log-likelihood <= 0 that a pixel of an (H, W, 3) picture is a corner, at the scale of a Gaussian of `sigma` pixels.

    The smaller eigenvalue of the structure tensor (Shi and Tomasi 1994), the A of `refine`, over its highest. Minus infinity where
    the picture is even: nothing can be located there.
    """
    grey = cv2.GaussianBlur(
        cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), sigma
    )
    strength = cv2.cornerMinEigenVal(grey, 3).astype(np.float64)
    with np.errstate(divide="ignore"):
        return np.asarray(
            np.log(np.where(strength > EVEN, strength, 0) / max(float(strength.max()), EVEN))
        )


def local_maxima(score: NDArray[np.float64], radius: int) -> NDArray[np.int64]:
    """(N, 2) x, y of the pixels that come first in the square of +-radius around them, strongest first.

    Pixels are ordered by (score, -y, -x), so a plateau has one maximum, the same each time. Non-finite scores never win.
    """
    flat = score.ravel()
    order = np.lexsort((np.arange(flat.size), -flat))
    places = np.empty(flat.size)
    places[order] = np.arange(flat.size, 0, -1)
    rank = places.reshape(score.shape)
    window = np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)
    wins = (
        cv2.dilate(rank, window, borderType=cv2.BORDER_CONSTANT, borderValue=0) == rank
    ) & np.isfinite(score)
    first = order[wins.ravel()[order]]
    return np.stack([first % score.shape[1], first // score.shape[1]], 1)


def ranked(peaks: NDArray[np.int64], score: NDArray[np.float64]) -> NDArray[np.int64]:
    """Peaks by another score than the one that they are the maxima of, in the order of `local_maxima`."""
    x, y = peaks.T
    return peaks[np.lexsort((x, y, -score[y, x]))]


def strongest(peaks: NDArray[T], *, keep: float, limit: int) -> NDArray[T]:
    """The soft threshold (paper, IV.A): the first `keep` share of peaks that come strongest first, at most `limit`."""
    return peaks[: min(math.ceil(keep * len(peaks)), limit)]


def refine(
    image: NDArray[np.uint8], points: NDArray[np.float64], half: int, blur: float = 0.0
) -> Refined:
    """Förstner's corner in the (2 half + 1)^2 window around each point of an (H, W, 3) image (paper, section III).

    x = A^-1 b with A the sum of [Ix^2 IxIy; IxIy Iy^2] and b of that matrix times the position. The covariance is
    s^2 A^-1, s^2 being the residual's variance (Förstner and Gülch 1987). Where A is near singular or the step would
    leave the window, the point stays as it is and is marked. The image is blurred by a Gaussian of that deviation, in pixels, before:
    what is finer than the network sees must not pull the point away.
    """
    grey = cv2.cvtColor(
        cv2.GaussianBlur(image, (0, 0), blur) if blur else image, cv2.COLOR_RGB2GRAY
    )
    height, width = grey.shape
    placed = np.clip(points, 0, [width - 1, height - 1])
    covariance = np.full((len(points), 2, 2), np.nan)
    refined = np.zeros(len(points), bool)
    for i in range(len(placed)):
        start = placed[i, :]
        centre = np.rint(start).astype(int)
        left, top = np.maximum(centre - half, 0)
        right, bottom = np.minimum(centre + half + 1, [width, height])
        ring_top, ring_left = (
            max(top - 1, 0),
            max(left - 1, 0),
        )  # one pixel more, for central differences at the window's rim
        gradients = np.gradient(
            grey[ring_top : bottom + 1, ring_left : right + 1].astype(np.float64)
        )
        window = np.s_[top - ring_top : bottom - ring_top, left - ring_left : right - ring_left]
        iy, ix = gradients[0][window], gradients[1][window]
        ys, xs = np.mgrid[top:bottom, left:right] - start[::-1, None, None]
        step, spread = corner(ix, iy, xs, ys, np.ones_like(ix))
        if (
            step is not None
            and (np.abs(step) <= half).all()
            and (np.clip(start + step, 0, [width - 1, height - 1]) == start + step).all()
        ):
            placed[i] = start + step
            covariance[i] = spread
            refined[i] = True
    return Refined(placed, covariance, refined)


def corner(
    ix: NDArray[np.float64],
    iy: NDArray[np.float64],
    xs: NDArray[np.float64],
    ys: NDArray[np.float64],
    weights: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | tuple[None, None]:
    """The least-squares corner (2,) of a window and its covariance (2, 2); nothing where the window has no corner.

    All inputs have the window's shape: gradients, positions (any origin) and weights.
    """
    xx, xy, yy = ((weights * product).sum() for product in (ix * ix, ix * iy, iy * iy))
    a = np.array([[xx, xy], [xy, yy]])
    if xx + yy <= 0 or 4 * (xx * yy - xy * xy) < MIN_ROUNDNESS * (xx + yy) ** 2:
        return None, None
    b = np.array(
        [(weights * ix * (ix * xs + iy * ys)).sum(), (weights * iy * (ix * xs + iy * ys)).sum()]
    )
    inverse = np.linalg.inv(a)
    point = inverse @ b
    residual = weights * (ix * (xs - point[0]) + iy * (ys - point[1])) ** 2
    return point, inverse * residual.sum() / max(weights.size - 2, 1)
