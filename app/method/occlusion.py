"""The coarse map: which patches the class depends on (paper, section III; Zeiler and Fergus 2014; Bazzani et al. 2016).

A box of one colour is put over the picture and the class score is read again: d(x, b) = max(score(x) - score(h_g(x, b)), 0).
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from app.incremental.engine import Heed, Incremental, ignore
from app.networks.network import Trace
from app.options import Score

SIGNIFICANT = 3.0  # standard errors above which a drop is evidence
ROUNDING = 1e-5  # drops below this are float32 rounding


@dataclass(frozen=True)
class Occlusion:
    """map: (S, S), the mean drop of the boxes over each pixel, weighted by how much of it they cover.

    drops, error: (rows, columns) of box positions: mean drop over the colours and its standard error (NaN for one colour).
    evident: whether any drop rises above the noise of the colours.
    """

    map: NDArray[np.float64]
    drops: NDArray[np.float64]
    error: NDArray[np.float64]
    evident: bool


def positions(side: int, box: int, step: int) -> list[int]:
    """Where boxes begin along one axis: every `step`, and flush with the far edge, so that every pixel is covered."""
    starts = list(range(0, side - box + 1, step))
    return starts if starts[-1] == side - box else [*starts, side - box]


def random_colours(digest: bytes, seed: int, colours: int, places: int) -> NDArray[np.float64]:
    """(colours, places, 3) RGB in [0, 1], a function of the picture's digest and the seed alone.

    Colours come in complementary pairs: a box the colour of what it hides hides nothing, but then its complement does.
    """
    rng = np.random.default_rng([seed, *np.frombuffer(digest, np.uint32)])
    half = rng.random(((colours + 1) // 2, places, 3))
    return np.stack([half, 1 - half], 1).reshape(-1, places, 3)[:colours]


def occlusion_map(
    engine: Incremental,
    trace: Trace,
    target: int,
    fills: Tensor,
    *,
    box: int,
    step: int,
    score: Score,
    heed: Heed = ignore,
) -> Occlusion:
    """The coarse map of one picture: trace.x is (1, 3, S, S).

    heed: see `Incremental.logits`.
    fills: (colours, places, 3) normalised colours, `places` being 1 (the same everywhere) or the number of positions.
    """
    side = trace.x.shape[-1]
    starts = positions(side, box, step)
    corners = tuple((y, x) for y in starts for x in starts)
    if fills.shape[1] not in (1, len(corners)):
        raise ValueError(f"{fills.shape[1]} colours for {len(corners)} boxes")
    clean = class_score(trace.logits, target, score)
    logits = torch.stack(
        [
            engine.logits(trace, corners, box, colour.expand(len(corners), 3), heed)
            for colour in fills
        ]
    )
    drops = (
        (clean - class_score(logits, target, score))
        .clamp(min=0)
        .cpu()
        .numpy()
        .reshape(len(fills), len(starts), len(starts))
    )
    mean = drops.mean(0)
    error = (
        drops.std(0, ddof=1) / np.sqrt(len(drops)) if len(drops) > 1 else np.full_like(mean, np.nan)
    )
    noise = np.sqrt((error**2).mean()) if len(drops) > 1 else 0.0
    return Occlusion(
        spread(mean, starts, box, side),
        mean,
        error,
        bool(mean.max() > max(SIGNIFICANT * noise, ROUNDING)),
    )


def class_score(logits: Tensor, target: int, score: Score) -> Tensor:
    """(..., C) -> (...) in float64. `log_odds` is z_c - logsumexp of the others: it ranks as the probability does, but never saturates."""
    logits = logits.double()
    match score:
        case "logit":
            return logits[..., target]
        case "probability":
            return logits.softmax(-1)[..., target]
        case "log_odds":
            others = torch.cat([logits[..., :target], logits[..., target + 1 :]], -1)
            return logits[..., target] - others.logsumexp(-1)


def spread(
    drops: NDArray[np.float64], starts: list[int], box: int, side: int
) -> NDArray[np.float64]:
    """(rows, columns) of positions -> (side, side): each pixel the mean over the boxes that cover it."""
    pixel = np.arange(side)
    covers = np.array([(pixel >= start) & (pixel < start + box) for start in starts], float)
    return np.asarray((covers.T @ drops @ covers) / (covers.T @ np.ones_like(drops) @ covers))
