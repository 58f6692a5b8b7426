"""From annotated photographs to a landmark set: the references that help, and what to expect."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from weakpoints.errors import BadAnnotations, WeakpointsError
from weakpoints.landmarks.annotations import Annotations, check_inside
from weakpoints.landmarks.describer import Describer
from weakpoints.landmarks.finder import find
from weakpoints.landmarks.landmark_set import MOST_REFERENCES, LandmarkSet
from weakpoints.landmarks.matching import Reference
from weakpoints.landmarks.named import pattern_of
from weakpoints.options import Options

ENOUGH = 10  # references that a set keeps, at most: more take time and help little
RIGHT = 0.1  # of the landmarks' extent

Open = Callable[[str], NDArray[np.uint8]]
"""The photograph of a file name, as `decode` gives it. Raises KeyError where it did not come."""


def learn(
    describer: Describer,
    annotations: Annotations,
    open_photograph: Open,
    options: Options,
    most: int = ENOUGH,
) -> LandmarkSet:
    """A set of the references that help the others most, at most `most` of them.

    Raises BadAnnotations for a photograph that is missing, can't be decoded, or has landmarks
    outside.
    """
    check_count(len(annotations.objects))
    references = [
        _reference(describer, annotations, number, open_photograph, options)
        for number in range(len(annotations.objects))
    ]
    chosen = choose_references(references, most)
    expected = expected_accuracy(references, chosen)
    kept = [references[i] for i in chosen]
    network = describer.detector.model.sha256
    sources = tuple(annotations.objects[i].file_name for i in chosen)
    return LandmarkSet(pattern_of(annotations, kept, network), sources, expected)


def check_count(count: int, limit: int = MOST_REFERENCES) -> None:
    """Raises BadAnnotations for more references than the limit."""
    if count > limit:
        raise BadAnnotations(
            f"{count} annotated objects came as references; at most {limit} are taken",
            limit=limit,
            actual=count,
        )


def choose_references(references: Sequence[Reference], most: int) -> list[int]:
    """Greedy: the reference that helps the photographs outside most comes next.

    Each alone is tried on every other photograph once. A set's worth on a photograph is that of
    its best reference there, left out where the photograph is that reference itself.
    """
    count = len(references)
    if count <= most:
        return list(range(count))
    worth = np.array([[_hits(a, b) if a is not b else 0.0 for b in references] for a in references])
    chosen: list[int] = []
    best = np.zeros(count)
    while len(chosen) < most:
        gains = [
            -1.0 if i in chosen else float(np.maximum(best, worth[i]).sum()) for i in range(count)
        ]
        chosen.append(int(np.argmax(gains)))
        best = np.maximum(best, worth[chosen[-1]])
    return sorted(chosen)


def expected_accuracy(
    references: Sequence[Reference], chosen: Sequence[int]
) -> tuple[float | None, ...]:
    """Of each landmark, the share of photographs on which the chosen others find it; leave one out.

    None where no two photographs have it marked.
    """
    hits = []
    for number, target in enumerate(references):
        others = [references[i] for i in chosen if i != number]
        if others:
            hits.append(_right(others, target))
    if not hits:
        return tuple(None for _ in references[0].shape.marked)
    shares = np.stack(hits)
    known = ~np.isnan(shares)
    return tuple(
        float(np.nansum(column) / seen.sum()) if seen.any() else None
        for column, seen in zip(shares.T, known.T, strict=True)
    )


def _hits(reference: Reference, target: Reference) -> float:
    return float(np.nansum(_right([reference], target)))


def _right(references: Sequence[Reference], target: Reference) -> NDArray[np.float64]:
    """(L,): 1 found, 0 not, NaN where it is not marked on the target, or on no reference."""
    located = find(references, target.descriptors)
    away = np.linalg.norm(located.places - target.shape.places, axis=1) / target.shape.extent
    known = target.shape.marked & np.any(
        [reference.shape.marked for reference in references], axis=0
    )
    return np.where(known, away <= RIGHT, np.nan)


def _reference(
    describer: Describer, annotations: Annotations, number: int, opened: Open, options: Options
) -> Reference:
    marked = annotations.objects[number]
    try:
        image = opened(marked.file_name)
    except (KeyError, FileNotFoundError) as error:
        raise BadAnnotations(
            f"the annotations are of {marked.file_name!r}, but no photograph of that name came",
            actual=marked.file_name,
        ) from error
    except WeakpointsError as error:
        raise BadAnnotations(f"reference {marked.file_name!r}: {error.detail}") from error
    height, width = image.shape[:2]
    check_inside(marked, annotations.names, (width, height), "the annotations")
    return describer.reference(image, marked.places, marked.marked, options)
