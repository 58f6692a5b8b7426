"""The studies of `weakpoints evaluate`. A new one is one more entry here.

A study is a function of a detector, photographs, options and `Rows`; it returns its figures.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from app.cli.terminal import bar
from weakpoints import __version__

if TYPE_CHECKING:
    from weakpoints.evaluation.photographs import Landmarked
    from weakpoints.evaluation.records import RecordedRows
    from weakpoints.method.detector import Detector
    from weakpoints.options import Options

StudyFigures = dict[str, Any]


@dataclass(frozen=True)
class Study:
    """What it asks, and the function that answers: "module:name", imported when it is asked."""

    question: str
    function: str

    def measure(self, *asked: Any) -> StudyFigures:
        measure: Callable[..., StudyFigures] = resolve_name(self.function)
        return measure(*asked)


ON_LANDMARKS = {
    "landmarks": Study(
        "do keypoints lie where people put landmarks?", "weakpoints.evaluation.landmarks:landmarks"
    ),
    "networks": Study(
        "the landmarks by each network that is here", "weakpoints.evaluation.networks:networks"
    ),
}
ON_PHOTOGRAPHS = {
    "repeatability": Study(
        "are the same points found when the photograph is warped, mirrored, shifted, lit, noisy?",
        "weakpoints.evaluation.repeatability:repeatability",
    ),
    "deletion": Study(
        "does the class go when the keypoints are blurred away?",
        "weakpoints.evaluation.deletion:deletion",
    ),
    "sanity": Study(
        "do maps and keypoints depend on the weights and on the class?",
        "weakpoints.evaluation.sanity:sanity",
    ),
    "patches": Study(
        "the paper's comparison of occluders, and more colours and scales",
        "weakpoints.evaluation.patches:patches",
    ),
}
ON_CLASSES = {
    "pairs": Study(
        "of two photographs in one picture, are the keypoints on the one that was asked for?",
        "weakpoints.evaluation.pairs:pairs",
    ),
    "fidelity": Study(
        "do the maps say what the class depends on? single deletion and the grid pointing game",
        "weakpoints.evaluation.fidelity:fidelity",
    ),
}
STUDIES = ON_LANDMARKS | ON_PHOTOGRAPHS | ON_CLASSES


def records(
    study: str, folder: Path | None, options: "Options", detector: "Detector"
) -> "RecordedRows":
    """Where a study's records are kept: in `folder`, if there is one."""
    from weakpoints.evaluation.records import RecordedRows

    key = f"{study} {__version__} {detector.model.sha256} {detector.model.entry_sha256} {options}"
    return RecordedRows(partial(bar, study), folder, key)


def measure(
    study: str,
    detector: "Detector",
    photographs: Sequence[Any],
    options: "Options",
    folder: Path | None,
) -> StudyFigures:
    """The figures of one study."""
    records_kept = records(study, folder, options, detector)
    return STUDIES[study].measure(detector, photographs, options, records_kept)


def report_page(title: str, figures: dict[str, StudyFigures], pictures: Sequence[Any] = ()) -> str:
    """Figures by study, and a montage for each picture, as HTML."""
    from weakpoints.evaluation.report import page

    questions = {name: (STUDIES[name].question, measured) for name, measured in figures.items()}
    return page(f"weakpoints: {title}", questions, pictures)


def montages(
    detector: "Detector", photographs: Sequence["Landmarked"], options: "Options"
) -> list[Any]:
    """Keypoints beside landmarks, one row a photograph."""
    from weakpoints.evaluation.montage import montage

    return [montage(detector, photograph, options) for photograph in bar("montage", photographs)]
