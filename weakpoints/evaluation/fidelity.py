"""Do the maps say what the class depends on?

Single deletion (Hesse, Schaub-Meyer and Roth 2024, IDSDS): each patch of a GRID x GRID grid is
covered alone. The rank correlation of the drops of the class's logit and the map's sums over the
patches. Their networks were fine-tuned with covered patches; these were not (out of domain).

Grid pointing game (Rao, Böhle and Schiele 2022): photographs of four classes in a 2 x 2 grid, one
of them asked for. The share of the positive attribution that lies on it; chance is a quarter.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import Tensor

from weakpoints.errors import BadOption
from weakpoints.evaluation.arrays import Array
from weakpoints.evaluation.matching import summary
from weakpoints.evaluation.pairs import square
from weakpoints.evaluation.photographs import read
from weakpoints.evaluation.records import RecordedRows, Row
from weakpoints.method.contrast import fine_maps
from weakpoints.method.detector import Detector
from weakpoints.method.occlusion import class_score, occluded_logits, positions, spread
from weakpoints.method.stages import NetworkPass, Prepared
from weakpoints.method.stopwatch import Stopwatch
from weakpoints.networks.network import Network, outputs
from weakpoints.options import Options

GRID = 4  # patches a side of single deletion
TILE = 300  # pixels: the side of each photograph in a grid of four
STEPS = 32  # of integrated gradients, and samples of SmoothGrad
BATCH = 8  # pictures of one pass of Captum's
SIGNED = ("input_x_gradient", "integrated_gradients")  # Captum's others are absolute values


@dataclass(frozen=True)
class Sample:
    """One photograph, or four in a grid, row by row; `asked` is the one whose class is explained.

    captum: whether Captum's methods are measured, too.
    """

    paths: tuple[Path, ...]
    asked: int
    target: int
    captum: bool

    @property
    def name(self) -> str:
        files = " ".join(f"{path.parent.name}/{path.name}" for path in self.paths)
        return f"{files} asked {self.asked}{' captum' * self.captum}"


def fidelity(
    detector: Detector, cases: Sequence[Sample], options: Options, rows: RecordedRows
) -> dict[str, Any]:
    """Under "deletion" the rank correlation of each map, under "grid" its share; with intervals.

    coarse: with its sign; guided: the fine map of `fine=mirrored`; contrast: that of
    `fine=contrast`; fused: the exponential. NAME_clipped: without what is negative.
    """
    measured = rows.of(
        {case.name: case for case in cases}, partial(_fidelity_row, detector, options)
    )
    parts = {
        "deletion": [
            row for case, row in zip(cases, measured, strict=True) if len(case.paths) == 1
        ],
        "grid": [row for case, row in zip(cases, measured, strict=True) if len(case.paths) > 1],
    }
    return {
        "network": detector.model.name,
        **{
            part: {
                "cases": len(some),
                **{name: summary([row[name] for row in some]) for name in some[0]},
            }
            for part, some in parts.items()
            if some
        },
    }


def choose_cases(classes: Mapping[int, Sequence[Path]], count: int, captum: bool) -> list[Sample]:
    """`count` photographs alone and half as many grids of four, the same ones each time."""
    if len(classes) < 4:
        raise BadOption(f"grids need photographs of four classes; there are {len(classes)}")
    rng, targets = np.random.default_rng(0), sorted(classes)

    def drawn(target: int) -> Path:
        return classes[target][int(rng.integers(len(classes[target])))]

    alone = rng.choice(len(targets), count, replace=count > len(targets))
    cases = [Sample((drawn(targets[i]),), 0, targets[i], captum) for i in alone]
    for _ in range(-(-count // 2)):
        four = [targets[i] for i in rng.choice(len(targets), 4, replace=False)]
        asked = int(rng.integers(4))
        cases.append(Sample(tuple(drawn(name) for name in four), asked, four[asked], captum))
    return cases


def patch_sums(values: Array) -> NDArray[np.float64]:
    """(GRID * GRID,) sums of an (S, S) map over the patches, row by row; S has to be divisible."""
    side = len(values) // GRID
    return np.asarray(values.reshape(GRID, side, GRID, side).sum((1, 3))).ravel()


def positive_share(values: Array, asked: int) -> float:
    """Of what is positive in an (S, S) map, the share in a quarter; a quarter where nothing is."""
    half, positive = len(values) // 2, values.clip(min=0)
    row, column = divmod(asked, 2)
    cell = positive[row * half : (row + 1) * half, column * half : (column + 1) * half]
    total = positive.sum()
    return float(cell.sum() / total) if total > 0 else 0.25


def _fidelity_row(detector: Detector, options: Options, case: Sample) -> Row:
    """{"value": ...} of each map."""
    if detector.input.side % GRID:
        raise BadOption(f"the input's side is {detector.input.side}, no multiple of {GRID}")
    images = [read(path) for path in case.paths]
    image = images[0]
    if len(images) > 1:
        tiles = [square(part, TILE) for part in images]
        rows = [np.concatenate(tiles[i : i + 2], 1) for i in (0, 2)]
        image = np.ascontiguousarray(np.concatenate(rows, 0))
    asked = replace(options, target_class=case.target, fit="squash", roi=None)
    prepared = detector.prepare(image, asked, Stopwatch())
    (seen,) = detector.forward_backward([prepared])
    maps = own_maps(detector, prepared, seen)
    if case.captum:
        maps |= captum_maps(detector.network, seen.trace.x, case.target)
    if len(images) > 1:
        return {
            name: {"value": positive_share(values, case.asked)} for name, values in maps.items()
        }
    drops = single_deletion(detector, prepared, seen)
    return {name: {"value": _correlation(patch_sums(map_), drops)} for name, map_ in maps.items()}


def own_maps(detector: Detector, prepared: Prepared, seen: NetworkPass) -> dict[str, Array]:
    """Each (S, S) of the class that is explained."""
    options, target, frame = prepared.options, seen.targets[0], prepared.frame
    side = detector.input.side
    if prepared.fills is None:
        raise ValueError("the photograph was prepared for its classes alone")
    with detector.device():
        fills = prepared.fills.to(seen.trace.x)
        logits = occluded_logits(detector.occluder, seen.trace, fills, options)
        of = partial(fine_maps, detector.network, seen.trace, [target], pictures=[0])
        guided, contrast = of(rule="mirrored")[0], of(rule="contrast")[0]
    fall = class_score(seen.trace.logits, target, options.score) - class_score(
        logits, target, options.score
    )
    starts = positions(side, options.patch, options.stride)
    drops = fall.cpu().numpy().reshape(-1, len(starts), len(starts))
    coarse, clipped = (
        spread(some.mean(0), starts, options.patch, side) for some in (drops, drops.clip(min=0))
    )
    fused = detector.fused(clipped, contrast, frame, options)
    return {
        "coarse": coarse,
        "coarse_clipped": clipped,
        "guided": guided,
        "contrast": contrast,
        "fused": np.exp(fused),
    }


def single_deletion(
    detector: Detector, prepared: Prepared, seen: NetworkPass
) -> NDArray[np.float64]:
    """(GRID * GRID,) drops of the class's logit, each patch in the input's mean colour alone."""
    side = detector.input.side // GRID
    options = replace(prepared.options, patch=side, stride=side, colours=1)
    with detector.device():
        mean = torch.zeros(1, 1, 3).to(seen.trace.x)
        logits = occluded_logits(detector.occluder, seen.trace, mean, options)[0]
    target = seen.targets[0]
    return np.asarray((seen.trace.logits[0, target] - logits[:, target]).double().cpu())


def captum_maps(network: Network, x: Tensor, target: int) -> dict[str, Array]:
    """Captum's methods on a single picture x (1, 3, S, S), summed over the colours.

    The baseline of integrated gradients is the input's mean colour. Raises BadOption without it.
    """
    try:
        from captum import attr
    except ImportError as error:
        raise BadOption("captum is not installed: pip install captum") from error

    def forward(pictures: Tensor) -> Tensor:
        *_, logits = outputs(network.layers, pictures)
        return logits

    x = x.clone().requires_grad_()  # what inference made can't have a gradient
    smooth = attr.NoiseTunnel(attr.Saliency(forward))
    noise = 0.15 * float(np.ptp(x.detach().cpu().numpy()))  # as its authors advise
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # of SmoothGrad's noise
        found = {
            "saliency": attr.Saliency(forward).attribute(x, target),
            "input_x_gradient": attr.InputXGradient(forward).attribute(x, target),
            "integrated_gradients": attr.IntegratedGradients(forward).attribute(
                x, target=target, n_steps=STEPS, internal_batch_size=BATCH
            ),
            "smoothgrad": smooth.attribute(
                x, nt_samples=STEPS, nt_samples_batch_size=BATCH, stdevs=noise, target=target
            ),
        }
    maps = {name: np.asarray(of[0].detach().double().sum(0).cpu()) for name, of in found.items()}
    return maps | {f"{name}_clipped": maps[name].clip(min=0) for name in SIGNED}


def _correlation(sums: NDArray[np.float64], drops: NDArray[np.float64]) -> float:
    """Spearman's; 0 where one of them is constant."""
    return float(spearmanr(sums, drops).statistic) if np.ptp(sums) and np.ptp(drops) else 0.0
