"""From a log-likelihood map to points.

Corners, non-maximum suppression (NMS), the soft threshold, and Förstner's refinement.
Paper: "Weakly supervised keypoint detection", sections III and IV.
"""

import math
from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

T = TypeVar("T", bound=np.generic)
EVEN = 1e-5  # grey levels squared: a smaller eigenvalue below this is only rounding
MIN_ROUNDNESS = 0.1  # of 4 det(A) / trace(A)^2, which is 1 for a corner and 0 for an edge


@dataclass(frozen=True)
class Refined:
    """N points after refinement; `refined` (N,) is false where a point stayed as it was.

    points: (N, 2) x, y in image pixels. covariance: (N, 2, 2) in pixels squared, NaN where a point
    was not refined.
    """

    points: NDArray[np.float64]
    covariance: NDArray[np.float64]
    refined: NDArray[np.bool_]


def corner_likelihood(picture: NDArray[np.uint8], sigma: float) -> NDArray[np.float64]:
    """(H, W) log-likelihood <= 0 that a pixel of an (H, W, 3) RGB picture is a corner.

    The smaller eigenvalue of the structure tensor (Shi and Tomasi 1994), over the highest one of
    the picture. The tensor is the matrix A of `refine`. sigma: the deviation in pixels of the
    Gaussian that blurs the picture first. Minus infinity where the picture is even.
    """
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    blurred = cv2.GaussianBlur(grey, (0, 0), sigma)
    strength = cv2.cornerMinEigenVal(blurred, 3).astype(np.float64)
    highest = max(float(strength.max()), EVEN)
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(np.where(strength > EVEN, strength, 0) / highest))


def local_maxima(score: NDArray[np.float64], radius: int) -> NDArray[np.int64]:
    """(N, 2) x, y of the local maxima of an (H, W) score, the highest first.

    A maximum is the first pixel of the square of +-radius around it. Pixels are ordered by
    (score, -y, -x), so a plateau has one maximum, the same each time. A score that is not finite
    is never a maximum.
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
    """The (N, 2) peaks in the order of another (H, W) score, with ties as in `local_maxima`."""
    x, y = peaks.T
    return peaks[np.lexsort((x, y, -score[y, x]))]


def strongest(peaks: NDArray[T], *, keep: float, limit: int) -> NDArray[T]:
    """The soft threshold (paper, section IV.A): the first `keep` share of peaks, at most `limit`.

    peaks: the strongest first.
    """
    return peaks[: min(math.ceil(keep * len(peaks)), limit)]


def grey_of(image: NDArray[np.uint8], blur: float = 0.0) -> NDArray[np.uint8]:
    """(H, W) of an (H, W, 3) RGB image, for `refine`.

    blur: deviation in pixels of the Gaussian that blurs the image first. Detail that the network
    can't see must not pull a point away.
    """
    if blur:
        image = cv2.GaussianBlur(image, (0, 0), blur).astype(np.uint8, copy=False)
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)


def refine(grey: NDArray[np.uint8], points: NDArray[np.float64], half: int) -> Refined:
    """Förstner's corner in the window around each point (paper, section III).

    grey: (H, W). points: (N, 2) x, y in pixels. The window has (2 half + 1)^2 pixels.
    x = A^-1 b, with A the sum of [Ix^2 IxIy; IxIy Iy^2] over the window, and b the sum of that
    matrix times the position. The covariance is s^2 A^-1, s^2 being the variance of the residual
    (Förstner and Gülch 1987). Where A is near singular, or the step would leave the window or the
    image, the point stays as it is.
    """
    height, width = grey.shape
    placed = np.clip(points, 0, [width - 1, height - 1])
    covariance = np.full((len(points), 2, 2), np.nan)
    refined = np.zeros(len(points), bool)
    for i in range(len(placed)):
        start = placed[i, :]
        centre = np.rint(start).astype(int)
        left, top = np.maximum(centre - half, 0)
        right, bottom = np.minimum(centre + half + 1, [width, height])
        # One pixel more, for central differences at the window's rim.
        ring_top = max(top - 1, 0)
        ring_left = max(left - 1, 0)
        gradients = np.gradient(
            grey[ring_top : bottom + 1, ring_left : right + 1].astype(np.float64)
        )
        window = np.s_[top - ring_top : bottom - ring_top, left - ring_left : right - ring_left]
        iy, ix = gradients[0][window], gradients[1][window]
        ys, xs = np.mgrid[top:bottom, left:right] - start[::-1, None, None]
        step, spread = corner(ix, iy, xs, ys, np.ones_like(ix))
        if step is None or (np.abs(step) > half).any():
            continue
        moved = start + step
        if (np.clip(moved, 0, [width - 1, height - 1]) == moved).all():
            placed[i] = moved
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
    """The least-squares corner (2,) of a window and its covariance (2, 2); None for an edge.

    All inputs have the window's shape: gradients, positions (any origin) and weights.
    """
    xx = (weights * ix * ix).sum()
    xy = (weights * ix * iy).sum()
    yy = (weights * iy * iy).sum()
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
