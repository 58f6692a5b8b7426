"""The two maps become one log-likelihood.

Paper: "Weakly supervised keypoint detection", section III, after Tulsiani and Malik (2015).
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from weakpoints.options import Combine, NetworkDefaults

# The Gaussian's deviation, as a share of the input's side. The evidence for a corner lies around
# it, and finer detail changes with every shift of the picture.
SMOOTH = 1 / 14
# Of the Gaussian with the fine map's mean and deviation, beside the map itself: what lies beside
# the object has to have more evidence, and the Gaussian hardly moves when the picture does.
OBJECT_SHARE = 0.15
FLOOR = 1e-3  # values below 0.1 % of the maximum are clipped


def fuse(
    coarse: NDArray[np.float64],
    fine: NDArray[np.float64],
    inside: NDArray[np.bool_],
    *,
    weight: float,
    combine: Combine,
    fine_share: float = NetworkDefaults.fine_share,
) -> NDArray[np.float64]:
    """(S, S) log-likelihood <= 0; minus infinity where `inside` is false.

    coarse, fine: (S, S). u and v are these maps standardised over the inside, w is the weight.
    `log_sigmoid`: w log sigmoid(u) + (1 - w) log sigmoid(v). Both maps have to agree (the paper).
    `corners`: both maps are smoothed first; w log sigmoid(u) + (1 - w) fine_share
    (log_share(fine) + OBJECT_SHARE log_gaussian(fine)). `peaks.find_peaks` adds what the place
    itself has: its corner and its rarity.
    """
    if combine == "log_sigmoid":
        patches = log_sigmoid(standardise(coarse, inside))
        pixels = log_sigmoid(standardise(fine, inside))
        score = weight * patches + (1 - weight) * pixels
    else:
        patches = log_sigmoid(standardise(smooth(coarse, inside), inside))
        smoothed = smooth(fine, inside)
        pixels = log_share(smoothed) + OBJECT_SHARE * log_gaussian(smoothed)
        score = weight * patches + (1 - weight) * fine_share * pixels
    return np.where(inside, score, -np.inf)


def smooth(
    values: NDArray[np.float64], inside: NDArray[np.bool_], deviation: float = SMOOTH
) -> NDArray[np.float64]:
    """(S, S) blurred by a Gaussian; the letterbox's margin has weight 0. deviation: of the side."""
    sigma = deviation * len(values)
    blurred = cv2.GaussianBlur(np.where(inside, values, 0.0), (0, 0), sigma)
    weights = cv2.GaussianBlur(inside.astype(float), (0, 0), sigma)
    return np.where(inside, blurred / np.maximum(weights, 1e-12), 0.0)


def standardise(values: NDArray[np.float64], inside: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(S, S) with mean 0 and deviation 1 over the inside; a constant map becomes 0."""
    centred = values - values[inside].mean()
    deviation = centred[inside].std()
    if deviation <= 1e-12 * np.abs(values).max(initial=0.0):
        return np.zeros_like(centred)
    return np.asarray(centred / deviation)


def log_sigmoid(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """log(1 / (1 + exp(-x))) of each value, without overflow."""
    return -np.logaddexp(0.0, -values)


def log_share(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """log(x / maximum) of values >= 0, in [log FLOOR, 0]; all 0 where the map is 0."""
    highest = values.max(initial=0.0)
    if highest <= 0:
        return np.zeros_like(values)
    return np.asarray(np.log(np.maximum(values / highest, FLOOR)))


def log_gaussian(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(S, S), <= 0: the Gaussian with the mean and the deviations of values >= 0, 1 at its peak.

    All 0 where the map is 0.
    """
    if values.max(initial=0.0) <= 0:
        return np.zeros_like(values)
    mean, variance = moments(values)
    x, y = (
        (np.arange(len(values)) - centre) ** 2 / max(spread, 1e-12)
        for centre, spread in zip(mean, variance, strict=True)
    )
    return np.asarray(-(x[None, :] + y[:, None]) / 2)


def moments(
    values: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean (2,) and variance (2,) of x and y in pixels, weighted by (S, S) values >= 0, not all 0.

    The variance is not negative.
    """
    places, total = np.arange(len(values)), values.sum()
    lines = np.stack([values.sum(0), values.sum(1)]) / total  # over x, over y
    mean = lines @ places
    return mean, np.maximum(lines @ places**2 - mean**2, 0)
