"""From a log-likelihood map to points: corners, non-maximum suppression, the soft threshold.

Paper: "Weakly supervised keypoint detection", sections III and IV.
"""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

FLAT = 1e-5  # grey levels squared: a smaller eigenvalue below this is only rounding
# A corner counts less where all around it is full of contrast, as in a texture.
CONTRAST_EXPONENT = 0.3  # of the mean squared gradient around, by which a corner is divided
AROUND = 3.0  # how far around: deviations of the Gaussian that blurred the picture
LEAST_CONTRAST = 1.0  # grey levels squared


def corner_likelihood(blurred: NDArray[np.float32]) -> NDArray[np.float64]:
    """(H, W) log-likelihood <= 0 that a pixel of an (H, W) grey picture is a corner.

    The smaller eigenvalue of the structure tensor (Shi and Tomasi 1994), over the highest one of
    the picture. The tensor is the matrix A of `refine`. Minus infinity where the picture is
    uniform.
    """
    strength = cv2.cornerMinEigenVal(blurred, 3).astype(np.float64)
    highest = max(float(strength.max()), FLAT)
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(np.where(strength > FLAT, strength, 0) / highest))


def contrast_normalised(
    likelihood: NDArray[np.float64], blurred: NDArray[np.float32], sigma: float
) -> NDArray[np.float64]:
    """(H, W) log-likelihood <= 0: `corner_likelihood`, less where there is contrast all around.

    blurred: (H, W) grey picture. sigma: of the Gaussian that blurred it, in pixels.
    """
    down, right = cv2.Sobel(blurred, cv2.CV_32F, 0, 1), cv2.Sobel(blurred, cv2.CV_32F, 1, 0)
    squares = (down**2 + right**2) / 64  # Sobel's gradient is 8 times the slope
    contrast = cv2.GaussianBlur(squares, (0, 0), AROUND * sigma).astype(np.float64)
    relative = likelihood - CONTRAST_EXPONENT * np.log(contrast + LEAST_CONTRAST)
    highest = relative.max(initial=-np.inf)
    return relative - highest if np.isfinite(highest) else relative


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


def kept_count(peaks: int, *, keep: float, limit: int) -> int:
    """The soft threshold (paper, section IV.A): `keep` of the peaks, at most `limit`."""
    return min(math.ceil(keep * peaks), limit)
