"""The coarse map: which patches the class depends on.

Paper: "Weakly supervised keypoint detection", section III; Zeiler and Fergus (2014); Bazzani et al.
(2016).

A box b of one colour is put over the picture x, and the class score is read again. Its drop is
d(x, b) = max(score(x) - score(h_g(x, b)), 0), where h_g paints the box.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from weakpoints.engine.engine import Incremental
from weakpoints.errors import NotFinite
from weakpoints.networks.network import Trace
from weakpoints.options import ResolvedOptions, Score
from weakpoints.progress import Progress, no_progress

SIGNIFICANT = 3.0  # standard errors above which a drop is evidence
ROUNDING = 1e-5  # drops below this are float32 rounding


@dataclass(frozen=True)
class Occlusion:
    """The coarse map of one class.

    map: (S, S), at each pixel the mean drop of the boxes that cover it. map_error: (S, S), its
    standard error over these boxes and the colours (NaN where they are one).
    drops, error: (rows, columns) of box positions, the mean drop over the colours and its standard
    error (NaN for one colour). evident: whether any drop is above the noise of the colours.
    """

    map: NDArray[np.float64]
    map_error: NDArray[np.float64]
    drops: NDArray[np.float64]
    error: NDArray[np.float64]
    evident: bool


def positions(side: int, patch: int, stride: int) -> list[int]:
    """Where boxes begin along one axis, in pixels: every `stride`, and flush with the far edge.

    So every pixel is covered where stride <= patch.
    """
    starts = list(range(0, side - patch + 1, stride))
    return starts if starts[-1] == side - patch else [*starts, side - patch]


def boxes(side: int, options: ResolvedOptions) -> NDArray[np.int64]:
    """(P, 4) x, y, w, h of the boxes over a side x side picture, row by row."""
    starts = positions(side, options.patch, options.stride)
    return np.array([(x, y, options.patch, options.patch) for y in starts for x in starts])


def box_count(side: int, options: ResolvedOptions) -> int:
    """How many boxes there are over a side x side picture, for each colour."""
    return len(positions(side, options.patch, options.stride)) ** 2


def random_colours(digest: bytes, seed: int, colours: int, places: int) -> NDArray[np.float64]:
    """(colours, places, 3) RGB in [0, 1], from the picture's digest and the seed alone.

    Colours come in complementary pairs. A box may have the colour of what it covers, and then it
    changes nothing; its complement does.
    """
    rng = np.random.default_rng([seed, *np.frombuffer(digest, np.uint32)])
    half = rng.random(((colours + 1) // 2, places, 3))
    return np.stack([half, 1 - half], 1).reshape(-1, places, 3)[:colours]


def occluded_logits(
    engine: Incremental,
    trace: Trace,
    fills: Tensor,
    options: ResolvedOptions,
    progress: Progress = no_progress,
) -> Tensor:
    """(R, P, C) logits of one picture with a box at each of P positions, in each of R colours.

    trace: of the picture alone, trace.x is (1, 3, S, S). fills: (R, 1, 3) normalised colours, the
    same at every position, or (R, P, 3). Positions go row by row. All classes are answered: maps
    of several classes need one call of this, and one of `occlusion_map` each. Raises NotFinite.
    """
    starts = positions(trace.x.shape[-1], options.patch, options.stride)
    corners = tuple((y, x) for y in starts for x in starts)
    if fills.shape[1] not in (1, len(corners)):
        raise ValueError(f"{fills.shape[1]} colours for {len(corners)} boxes")
    colours = fills.expand(len(fills), len(corners), 3)
    occluded = engine.logits(trace, corners, options.patch, colours, progress)
    check_finite(trace.logits, engine)
    check_finite(occluded, engine)
    return occluded


def check_finite(logits: Tensor, engine: Incremental) -> None:
    """Raises NotFinite where one is not."""
    if not logits.isfinite().all():
        raise NotFinite(
            f"logits of this photograph exceed the range of {engine.dtype}; "
            "WEAKPOINTS_PRECISION=float32 holds more"
        )


def occlusion_map(
    trace: Trace, occluded: Tensor, target: int, options: ResolvedOptions
) -> Occlusion:
    """The coarse map of the class `target`, from the logits without and with boxes.

    trace: of the picture alone. occluded: (R, P, C), see `occluded_logits`.
    """
    side = trace.x.shape[-1]
    starts = positions(side, options.patch, options.stride)
    clean = class_score(trace.logits, target, options.score)
    drops = (
        (clean - class_score(occluded, target, options.score))
        .clamp(min=0)
        .cpu()
        .numpy()
        .reshape(len(occluded), len(starts), len(starts))
    )
    mean = drops.mean(0)
    error = np.full_like(mean, np.nan)
    noise = 0.0
    if len(drops) > 1:
        error = drops.std(0, ddof=1) / np.sqrt(len(drops))
        noise = np.sqrt((error**2).mean())
    return Occlusion(
        map=spread(mean, starts, options.patch, side),
        map_error=spread_error(drops, starts, options.patch, side),
        drops=mean,
        error=error,
        evident=bool(mean.max() > max(SIGNIFICANT * noise, ROUNDING)),
    )


def class_score(logits: Tensor, target: int, score: Score) -> Tensor:
    """(..., C) logits -> (...) score of the class `target`, in float64.

    `log_odds` is z_c - logsumexp of the other logits. It ranks as the probability does, but never
    saturates.
    """
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
    drops: NDArray[np.float64], starts: list[int], patch: int, side: int
) -> NDArray[np.float64]:
    """(rows, columns) of positions -> (S, S): at each pixel the mean over the boxes on it."""
    covers = _covers(starts, patch, side)
    return np.asarray(covers.T @ drops @ covers / _count(covers))


def spread_error(
    drops: NDArray[np.float64], starts: list[int], patch: int, side: int
) -> NDArray[np.float64]:
    """(R, rows, columns) -> (S, S): the standard error of the mean of what covers each pixel.

    Over the boxes on it and the R colours, as if they were independent. NaN where they are one.
    """
    count = len(drops) * _count(_covers(starts, patch, side))
    middle = drops.mean()  # taken away first, for the square of the mean to lose no digits
    mean = spread(drops.mean(0) - middle, starts, patch, side)
    square = spread(((drops - middle) ** 2).mean(0), starts, patch, side)
    variance = np.maximum(square - mean**2, 0.0)
    return np.where(count > 1, np.sqrt(variance / np.maximum(count - 1, 1)), np.nan)


def _covers(starts: list[int], patch: int, side: int) -> NDArray[np.float64]:
    """(positions, S): 1 where the box that begins there covers the pixel, along one axis."""
    pixel = np.arange(side)
    return np.array([(pixel >= start) & (pixel < start + patch) for start in starts], float)


def _count(covers: NDArray[np.float64]) -> NDArray[np.float64]:
    """(S, S): how many boxes cover each pixel."""
    along = covers.sum(0)
    return np.outer(along, along)
