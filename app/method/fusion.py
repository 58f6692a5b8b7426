"""Two maps into one log-likelihood (paper, section III, after Tulsiani and Malik 2015)."""

import cv2
import numpy as np
from numpy.typing import NDArray

from app.options import Combine

SMOOTH = (
    1 / 14
)  # of the input's side, the paper's box: a corner's evidence is what lies around it, and finer detail changes with every shift
FLOOR = 1e-3  # of a map's maximum: what is this weak is as good as nothing


def fuse(
    coarse: NDArray[np.float64],
    fine: NDArray[np.float64],
    inside: NDArray[np.bool_],
    *,
    weight: float,
    combine: Combine,
) -> NDArray[np.float64]:
    """(S, S) log-likelihood <= 0; -inf where `inside` is false. u and v are the maps standardised over the inside.

    `log_sigmoid`: w log sigmoid(u) + (1 - w) log sigmoid(v), so that both scales have to agree.
    `corners`: w log sigmoid(u) + (1 - w) / 2 log share(fine), both maps smoothed; the other (1 - w) / 2 is the corner's, see `keypoints`.
    """
    if combine == "log_sigmoid":
        score = weight * log_sigmoid(standardise(coarse, inside)) + (1 - weight) * log_sigmoid(
            standardise(fine, inside)
        )
    else:
        coarse, fine = smooth(coarse, inside), smooth(fine, inside)
        score = weight * log_sigmoid(standardise(coarse, inside)) + (1 - weight) / 2 * log_share(
            fine
        )
    return np.where(inside, score, -np.inf)


def smooth(values: NDArray[np.float64], inside: NDArray[np.bool_]) -> NDArray[np.float64]:
    """A Gaussian of SMOOTH, in which the margin has no say."""
    blurred, weights = (
        cv2.GaussianBlur(each, (0, 0), SMOOTH * len(values))
        for each in (np.where(inside, values, 0.0), inside.astype(float))
    )
    return np.where(inside, blurred / np.maximum(weights, 1e-12), 0.0)


def standardise(values: NDArray[np.float64], inside: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Mean 0 and deviation 1 over the inside; a constant map becomes 0, since it says nothing."""
    centred = values - values[inside].mean()
    deviation = centred[inside].std()
    return (
        centred / deviation
        if deviation > 1e-12 * np.abs(values).max(initial=0.0)
        else np.zeros_like(centred)
    )


def log_sigmoid(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return -np.logaddexp(0.0, -values)


def log_share(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """log of values >= 0 over their maximum, in [log FLOOR, 0]; all 0 where the map is 0."""
    highest = values.max(initial=0.0)
    return np.log(np.maximum(values / highest, FLOOR)) if highest > 0 else np.zeros_like(values)
