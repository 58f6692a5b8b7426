"""Fit the curve of `weakpoints/landmarks/confidence.py`: `python -m benchmarks.fit_confidence`.

    python -m benchmarks.fit_confidence --annotations coco.json --images photos \
        --network MANIFEST:NAME --network MANIFEST:NAME

Each photograph is a target of one, three and five others of its category: as it is, without the
left or the right third of the object, and with little around the object; and of references of
another category. A landmark is right within a tenth of the object's longer side; one that is cut
away is never right. It prints WEIGHTS and CONSTANT, and for some thresholds the share of landmarks
that are gone and said to be visible, and of right ones that are said to be visible.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from weakpoints.evaluation.known import Known, known_photographs, without_a_third
from weakpoints.evaluation.pck import RIGHT
from weakpoints.landmarks.annotations import read_categories
from weakpoints.landmarks.confidence import features
from weakpoints.landmarks.describer import Describer, to_pixels
from weakpoints.landmarks.descriptors import Descriptors
from weakpoints.landmarks.finder import find
from weakpoints.loading import load_detector
from weakpoints.method.frame import Frame
from weakpoints.options import choose

COUNTS = (1, 1, 3, 5)  # of references, drawn for each target
FOREIGN = 1  # of another category
CLOSE = (0.1, 0.25)  # of the landmarks' box, around it
# What each view counts: little, but for whole photographs, of which confidence is to hold.
WEIGHTS = {"whole": 1.0, "left": 0.1, "right": 0.1, "close": 0.1, "foreign": 0.3}
PENALTY = 1e-4  # L2, on the weights of standardised clues
LEAST = 8  # pixels of a close-up
ROUNDS = 30  # of Newton's
THRESHOLDS = (0.5, 0.6, 0.65, 0.7)

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]
View = Literal["whole", "left", "right", "close", "foreign"]
Look = tuple[View, Descriptors, Frame, Bools]
"""How a target is looked at, and which landmarks are cut away."""


@dataclass(frozen=True)
class Sample:
    """Landmarks of one target: (N, 7) clues, and which are right, and cut away."""

    view: View
    clues: Array
    right: Bools
    gone: Bools


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--annotations", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--network", action="append", required=True, help="MANIFEST:NAME")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    found = list[Sample]()
    for network in asked.network:
        manifest, name = network.rsplit(":", 1)
        describer = Describer(load_detector(Path(manifest), name, "cpu"))
        categories = [
            known_photographs(describer, annotations, asked.images)
            for annotations in read_categories(asked.annotations.read_bytes(), "annotations")
        ]
        for number, known in enumerate(categories):
            others = [each for i, more in enumerate(categories) if i != number for each in more]
            found += _samples(describer, known, others)
    weights, constant = fitted(found)
    chance = [1 / (1 + np.exp(-(sample.clues @ weights + constant))) for sample in found]
    shown = {str(threshold): _shares(found, chance, threshold) for threshold in THRESHOLDS}
    print(
        json.dumps({"weights": weights.round(3).tolist(), "constant": round(constant, 3), **shown})
    )


def _samples(
    describer: Describer, known: Sequence[Known], others: Sequence[Known]
) -> Iterator[Sample]:
    rng = np.random.default_rng(0)
    for number, target in enumerate(tqdm(known)):
        looks = _looks(describer, target)
        rest = [each for i, each in enumerate(known) if i != number]
        for count in COUNTS:
            references = [rest[i] for i in rng.permutation(len(rest))[:count]]
            yield from (_sample(references, target, *look) for look in looks)
        if others:
            references = [others[i] for i in rng.permutation(len(others))[:FOREIGN]]
            yield _sample(references, target, "foreign", *looks[0][1:])


def _looks(describer: Describer, target: Known) -> list[Look]:
    none = np.zeros(len(target.marked.marked), bool)
    looks: list[Look] = [("whole", target.descriptors, target.frame, none)]
    looks.append(("left", *without_a_third(describer, target, "left")))
    looks.append(("right", *without_a_third(describer, target, "right")))
    height, width, _ = target.image.shape
    places = target.marked.places[target.marked.marked]
    low, high = places.min(0), places.max(0)
    for around in (share * (high - low) for share in CLOSE):
        x, y = np.maximum(low - around, 0).astype(int).tolist()
        right, bottom = np.minimum(high + around, (width, height)).astype(int).tolist()
        roi = (x, y, max(right - x, LEAST), max(bottom - y, LEAST))
        looks.append(("close", *describer.describe(target.image, choose(roi=roi)), none))
    return looks


def _sample(
    references: Sequence[Known],
    target: Known,
    view: View,
    descriptors: Descriptors,
    frame: Frame,
    gone: Bools,
) -> Sample:
    located = find([each.reference for each in references], descriptors)
    known = np.any([each.marked.marked for each in references], axis=0)
    if view == "foreign":
        right = gone = np.zeros(len(known), bool)
    else:
        known &= target.marked.marked
        away = np.linalg.norm(to_pixels(frame, located.places) - target.marked.places, axis=1)
        right = (away / target.size <= RIGHT) & ~gone
    return Sample(view, features(located.clues)[known], right[known], gone[known])


def fitted(samples: Sequence[Sample]) -> tuple[Array, float]:
    """Weights and constant of a logistic regression, by Newton's method."""
    clues = np.concatenate([sample.clues for sample in samples])
    right = np.concatenate([sample.right for sample in samples]).astype(float)
    counts = [len(sample.right) for sample in samples]
    weight = np.repeat([WEIGHTS[sample.view] for sample in samples], counts)
    middle, deviation = clues.mean(0), np.maximum(clues.std(0), 1e-9)
    x = np.column_stack([(clues - middle) / deviation, np.ones(len(clues))])
    penalty = PENALTY * len(x) * np.diag([1.0] * clues.shape[1] + [0.0])
    found = np.zeros(x.shape[1])
    for _ in range(ROUNDS):
        chance = 1 / (1 + np.exp(-x @ found))
        slope = x.T @ (weight * (chance - right)) + penalty @ found
        bend = (x * (weight * chance * (1 - chance))[:, None]).T @ x + penalty
        found -= np.linalg.solve(bend, slope)
    weights = found[:-1] / deviation
    return weights, float(found[-1] - middle @ weights)


def _shares(
    samples: Sequence[Sample], chance: Sequence[Array], threshold: float
) -> dict[str, float]:
    """What a threshold hides and shows."""

    def shown(which: str, *views: View) -> float:
        told = [
            p[getattr(sample, which)] >= threshold
            for sample, p in zip(samples, chance, strict=True)
            if sample.view in views
        ]
        return round(float(np.concatenate(told).mean()), 3)

    return {
        "gone_shown": shown("gone", "left", "right"),
        "right_shown_cut": shown("right", "left", "right"),
        "right_shown_close": shown("right", "close"),
        "right_shown_whole": shown("right", "whole"),
    }


if __name__ == "__main__":
    main()
