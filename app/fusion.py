"""Two maps into one log-likelihood (paper, section III, after Tulsiani and Malik 2015)."""

import numpy as np
from numpy.typing import NDArray

from app.options import Combine

# Of the sigmoid, a standard deviation of the map. A sum of logits ranks alike at any slope; a gentle one keeps confidences apart,
# since the fine map reaches twenty deviations.
SLOPE = {"log_sigmoid": 1.0, "logit_sum": 0.25}


def fuse(
    coarse: NDArray[np.float64], fine: NDArray[np.float64], inside: NDArray[np.bool_], *, weight: float, combine: Combine
) -> NDArray[np.float64]:
    """(S, S) log-likelihood <= 0; -inf where `inside` is false. u and v are the maps standardised over the inside, a the slope.

    `log_sigmoid`: w log sigmoid(a u) + (1 - w) log sigmoid(a v), so that both scales have to agree.
    `logit_sum`: log sigmoid(2 a (w u + (1 - w) v)), at w = 1/2 (and a = 1) the sum of logits that Tulsiani and Malik's code runs.
    """
    u, v = standardise(coarse, inside), standardise(fine, inside)
    if combine == "logit_sum":
        score = log_sigmoid(2 * SLOPE[combine] * (weight * u + (1 - weight) * v))
    else:
        score = weight * log_sigmoid(SLOPE[combine] * u) + (1 - weight) * log_sigmoid(SLOPE[combine] * v)
    return np.where(inside, score, -np.inf)


def standardise(values: NDArray[np.float64], inside: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Mean 0 and deviation 1 over the inside; a constant map becomes 0, since it says nothing."""
    centred = values - values[inside].mean()
    deviation = centred[inside].std()
    return centred / deviation if deviation > 1e-12 * np.abs(values).max(initial=0.0) else np.zeros_like(centred)


def log_sigmoid(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return -np.logaddexp(0.0, -values)
