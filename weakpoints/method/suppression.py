"""Soft non-maximum suppression: keypoints are taken one by one and keep apart from one another."""

import numpy as np
from numpy.typing import NDArray

from weakpoints.method.frame import Frame
from weakpoints.method.fusion import moments, smooth
from weakpoints.options import Combine

# The suppression's deviation, of the object's extent. Less leaves the points on one or two parts;
# more drives them off the object.
REACH = 1 / 15
STRENGTH = 0.4  # of the log-likelihood, what a point takes from another at the same place
UNIFORM = 12**0.5  # a side of a uniform rectangle over its deviation


def sigma_of(fine: NDArray[np.float64], frame: Frame, combine: Combine) -> float:
    """The deviation for `soft_nms` in pixels of the photograph; 0 in the paper's `log_sigmoid`."""
    return REACH * object_extent(fine, frame) if combine == "corners" else 0.0


def object_extent(fine: NDArray[np.float64], frame: Frame) -> float:
    """The longer side of the object in pixels of the photograph, as its evidence (S, S) lies.

    It is the side of a uniform rectangle with the deviation of the smoothed fine map. 0 where that
    map is 0.
    """
    weights = smooth(fine, frame.inside)
    if weights.max(initial=0.0) <= 0:
        return 0.0
    _, variance = moments(weights)
    return float((UNIFORM * np.sqrt(variance) * frame.scale).max())


def soft_nms(
    points: NDArray[np.float64], log_likelihood: NDArray[np.float64], sigma: float, count: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Indices of the `count` points taken, and their log-likelihoods when they were taken.

    Gaussian soft-NMS (Bodla et al. 2017) of points (N, 2) with log-likelihoods (N,): the likeliest
    is taken, and the others' log-likelihoods fall by STRENGTH exp(-d^2 / 2 sigma^2), d being their
    distance to it. So what is taken never rises along the list. Of equal ones the first is taken.
    sigma 0: nothing falls.
    """
    left, values = np.arange(len(points)), log_likelihood.copy()
    taken, likelihoods = [], []
    for _ in range(min(count, len(points))):
        best = int(values[left].argmax())
        index, left = left[best], np.delete(left, best)
        taken.append(index)
        likelihoods.append(values[index])
        if sigma > 0:
            squares = ((points[left] - points[index]) ** 2).sum(1)
            values[left] -= STRENGTH * np.exp(-squares / (2 * sigma**2))
    return np.array(taken, np.int64), np.array(likelihoods, np.float64)
