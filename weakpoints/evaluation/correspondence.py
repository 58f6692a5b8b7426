"""Is a landmark of one photograph found on another of its class?

PCK by the box of the target's visible landmarks, as PF-WILLOW has it (Ham et al. 2016).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weakpoints.errors import BadAnnotations
from weakpoints.evaluation.arrays import Array
from weakpoints.evaluation.known import Known, known_photographs, without_a_third
from weakpoints.evaluation.pck import RIGHT, Scored, confidence_figures, pck_figures
from weakpoints.evaluation.records import ProgressBar
from weakpoints.evaluation.transfer import nearest_neighbour, same_place, sift_matches
from weakpoints.landmarks.annotations import Annotations
from weakpoints.landmarks.describer import Describer
from weakpoints.landmarks.finder import find
from weakpoints.landmarks.named import Named, named_points, pattern_of
from weakpoints.method.detector import Detector

DRAWS = 5  # of the references of each target, where there are several
BASELINES_ON = 300  # cases, drawn: SIFT takes longer than the network


@dataclass(frozen=True)
class TargetCase:
    """A target and its references, as indices into a category's photographs."""

    references: tuple[int, ...]
    target: int


Cut = tuple[NDArray[np.bool_], Named, Scored]
"""A target that was cut: which of its landmarks are gone, and what was found."""


def correspondence(
    detector: Detector,
    categories: Sequence[Annotations],
    images: Path,
    references: int,
    progress: ProgressBar = iter,
) -> dict[str, Any]:
    """PCK with that many references; with one, every ordered pair of a category is a case.

    quarters: share right at 0.1 by quarters of the confidence, the surest first.
    cropped: a third of the object cut away; of what can't be seen, the share said not visible, and
    of what can and was found right, the share said visible.
    """
    describer, others = Describer(detector), dict[str, list[Scored]]()
    scored: list[Scored] = []
    cut: list[Cut] = []
    for annotations in categories:
        known = known_photographs(describer, annotations, images)
        cases = list(target_cases([one.marked.file_name for one in known], references))
        for case in progress(cases):
            scored.append(_score(known, case, annotations))
        rng = np.random.default_rng(0)
        for number in sorted(rng.permutation(len(cases))[:BASELINES_ON].tolist()):
            for name, transfer in BASELINES.items():
                others.setdefault(name, []).append(
                    _baseline(known, cases[number], transfer, annotations)
                )
        cut += [_cropped(describer, known, case, annotations) for case in _one_each(cases)]
    if not scored:
        raise BadAnnotations("no category has two photographs whose landmarks have an extent")
    return {
        "references": references,
        "cases": len(scored),
        "landmarks": int(sum(len(score.error) for score in scored)),
        **pck_figures(scored),
        **confidence_figures(scored),
        "cropped": _not_there(cut),
        "baselines": {name: pck_figures(scores) for name, scores in others.items()},
        "by_category": {
            category: pck_figures([score for score in scored if score.category == category])
            for category in dict.fromkeys(score.category for score in scored)
        },
    }


def target_cases(photographs: Sequence[str], references: int) -> Iterator[TargetCase]:
    """Every ordered pair, or each photograph with DRAWS sets of references, the same each time.

    photographs: the file of each object. An object is no reference for its own photograph.
    """
    if references == 1:
        for reference, target in permutations(range(len(photographs)), 2):
            if photographs[reference] != photographs[target]:
                yield TargetCase((reference,), target)
        return
    rng = np.random.default_rng(references)
    for target, own in enumerate(photographs):
        others = [i for i, photograph in enumerate(photographs) if photograph != own]
        for _ in range(DRAWS if len(others) > references else min(len(others), 1)):
            yield TargetCase(tuple(rng.permutation(others)[:references].tolist()), target)


def _one_each(cases: Sequence[TargetCase]) -> list[TargetCase]:
    """The first case of each target."""
    return list({case.target: case for case in reversed(cases)}.values())


def _score(known: Sequence[Known], case: TargetCase, annotations: Annotations) -> Scored:
    target = known[case.target]
    references = [known[i].reference for i in case.references]
    located = find(references, target.descriptors)
    named = named_points(pattern_of(annotations, references, ""), located, target.frame)
    return _scored(known, case, named.xy, named, annotations)


def _scored(
    known: Sequence[Known],
    case: TargetCase,
    xy: Array,
    named: Named | None,
    annotations: Annotations,
) -> Scored:
    target = known[case.target]
    both = target.marked.marked & np.any([known[i].marked.marked for i in case.references], axis=0)
    error = np.linalg.norm(xy - target.marked.places, axis=1)[both] / target.size
    nothing = np.zeros(int(both.sum()))
    confidence = named.confidence[both] if named else nothing
    visible = named.visible[both] if named else nothing > 0
    return Scored(case.target, annotations.category, error, confidence, visible)


def _baseline(
    known: Sequence[Known],
    case: TargetCase,
    transfer: Callable[[Known, Known], Array],
    annotations: Annotations,
) -> Scored:
    """By the first reference alone: a baseline has no way to add several."""
    first = replace(case, references=case.references[:1])
    xy = transfer(known[first.references[0]], known[case.target])
    return _scored(known, first, xy, None, annotations)


BASELINES: dict[str, Callable[[Known, Known], Array]] = {
    "same_place": lambda a, b: same_place(a.reference, b.frame),
    "sift": lambda a, b: sift_matches(a.sift, b.sift, a.marked.places),
    "nearest_neighbour": lambda a, b: nearest_neighbour(a.reference, b.descriptors, b.frame),
}


def _cropped(
    describer: Describer, known: Sequence[Known], case: TargetCase, annotations: Annotations
) -> Cut:
    """The target without the right third of its landmarks' box, and which are gone."""
    target = known[case.target]
    descriptors, frame, gone = without_a_third(describer, target, "right")
    references = [known[i].reference for i in case.references]
    located = find(references, descriptors)
    named = named_points(pattern_of(annotations, references, ""), located, frame)
    both = target.marked.marked & np.any([known[i].marked.marked for i in case.references], axis=0)
    return gone[both], named, _scored(known, case, named.xy, named, annotations)


def _not_there(cut: Sequence[Cut]) -> dict[str, Any]:
    gone = np.concatenate([missing for missing, _, _ in cut])
    visible = np.concatenate([scored.visible for _, _, scored in cut])
    right = np.concatenate([scored.error for _, _, scored in cut]) <= RIGHT
    kept = right & ~gone
    return {
        "gone": int(gone.sum()),
        "said_not_visible": float((~visible[gone]).mean()) if gone.any() else None,
        "right_and_said_visible": float(visible[kept].mean()) if kept.any() else None,
    }
