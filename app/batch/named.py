"""A batch that finds named points: what each photograph is asked, and which sets there are."""

import hashlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.batch.records import ResultRow
from weakpoints.landmarks.describer import Describer
from weakpoints.landmarks.landmark_set import SUFFIX, LandmarkSet
from weakpoints.landmarks.named import Named, NamedPoints, Pattern
from weakpoints.method.detector import Detector
from weakpoints.method.stopwatch import Stopwatch
from weakpoints.options import Options

MOST_TRIED = 12  # photographs of a class that are tried as its reference
MOST_POINTS = 12  # keypoints of the reference that get an identity, the strongest

Image = NDArray[np.uint8]
Patterns = Mapping[int | None, Pattern]
"""By class; None: of every photograph."""


@dataclass(frozen=True)
class NamedLocator:
    """In a detector's place: the landmarks of a photograph, by the pattern of its class."""

    detector: Detector
    patterns: Patterns

    @cached_property
    def describer(self) -> Describer:
        return Describer(self.detector)

    def locate(self, image: Image, options: Options) -> Named:
        """Without any landmark where its class has no pattern."""
        prepared = self.describer.prepare(image, options, Stopwatch())
        (evidence,) = self.describer.look([prepared])
        kind = None if None in self.patterns else evidence.top[0].class_id
        if kind in self.patterns:
            return NamedPoints(self.describer, self.patterns[kind]).named(
                prepared, evidence, options
            )
        frame = prepared.frame
        return Named(frame.width, frame.height, (), (), None, evidence.top, options, {})


def by_set(load: Callable[[], Detector], learnt: LandmarkSet) -> NamedLocator:
    """Raises BadLandmarkSet for a set of another network."""
    locator = NamedLocator(load(), {None: learnt.pattern})
    NamedPoints(locator.describer, learnt.pattern)
    return locator


def by_class(load: Callable[[], Detector], patterns: Patterns) -> NamedLocator:
    return NamedLocator(load(), patterns)


def categories_of(patterns: Patterns, labels: Sequence[str]) -> list[dict[str, Any]]:
    """COCO's; its id is the index of the class and one, and 1 where there is one set for all."""
    return [
        {
            "id": 1 if kind is None else kind + 1,
            "name": pattern.category if kind is None else labels[kind],
            "keypoints": list(pattern.names),
            "skeleton": [[a + 1, b + 1] for a, b in pattern.skeleton],
        }
        for kind, pattern in sorted(patterns.items(), key=lambda item: item[0] or 0)
    ]


def digest_of(patterns: Patterns) -> str:
    """What a run's rows depend on, beside the network."""
    digest = hashlib.sha256()
    for kind, pattern in sorted(patterns.items(), key=lambda item: item[0] or 0):
        digest.update(str(kind).encode() + LandmarkSet(pattern).to_bytes())
    return digest.hexdigest()


def kept_patterns(folder: Path) -> dict[int | None, Pattern] | None:
    """What `keep_patterns` wrote there; None where it has not. Raises BadLandmarkSet, OSError."""
    if not folder.is_dir():
        return None
    files = folder.glob(f"*{SUFFIX}")
    return {int(path.stem): LandmarkSet.load(path).pattern for path in files}


def keep_patterns(folder: Path, patterns: Patterns) -> None:
    """A landmark set for each class, called by its index; all of them or none. Raises OSError."""
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    for kind, pattern in patterns.items():
        LandmarkSet(pattern).save(partial / f"{kind}{SUFFIX}")
    shutil.rmtree(folder, ignore_errors=True)
    partial.replace(folder)


def consistent_patterns(
    detector: Detector,
    rows: Sequence[ResultRow],
    opened: Callable[[str], Image],
    options: Options,
) -> dict[int | None, Pattern]:
    """For each predicted class a set of one reference, whose own keypoints are the landmarks.

    It is the photograph whose keypoints are found most surely on the others of its class. A class
    with a single photograph has none.
    """
    classes: dict[int, list[ResultRow]] = {}
    for row in rows:
        if row.error is None and row.keypoints and row.class_id is not None:
            classes.setdefault(row.class_id, []).append(row)
    return {
        kind: _best_reference(detector, members, opened, options)
        for kind, members in sorted(classes.items())
        if len(members) > 1
    }


def _best_reference(
    detector: Detector,
    members: Sequence[ResultRow],
    opened: Callable[[str], Image],
    options: Options,
) -> Pattern:
    describer = Describer(detector)
    step = max(1, len(members) // MOST_TRIED)  # spread over the collection, the same each time
    tried = members[::step][:MOST_TRIED]
    images = [opened(row.file_name) for row in tried]
    patterns = [
        _pattern(describer, row, image, options) for row, image in zip(tried, images, strict=True)
    ]
    agreement = [
        sum(
            float(NamedPoints(describer, pattern).find(image, options).confidence.mean())
            for number, image in enumerate(images)
            if number != own
        )
        for own, pattern in enumerate(patterns)
    ]
    return patterns[int(np.argmax(agreement))]


def _pattern(describer: Describer, row: ResultRow, image: Image, options: Options) -> Pattern:
    points = sorted(row.keypoints, key=lambda point: -point.confidence)[:MOST_POINTS]
    places = np.array([(point.x, point.y) for point in points])
    names = tuple(f"P{number}" for number in range(1, len(points) + 1))
    any_class = replace(options, target_class=None)
    reference = describer.reference(image, places, np.ones(len(points), bool), any_class)
    return Pattern(row.label or "", names, (), (reference,), describer.detector.model.sha256)
