"""`weakpoints evaluate ...`: each study's question, what it asks for, and how its answer is shown."""

import argparse
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from app import __version__
from app.evaluation.deletion import deletion
from app.evaluation.fg3dcar import read_fg3dcar
from app.evaluation.landmarks import landmarks
from app.evaluation.montage import montage
from app.evaluation.networks import networks
from app.evaluation.patches import patches
from app.evaluation.photographs import Landmarked, read_coco, sample
from app.evaluation.records import Rows
from app.evaluation.repeatability import repeatability
from app.evaluation.report import page
from app.evaluation.sanity import sanity
from app.method.detector import Detector

LANDMARKS = "do keypoints lie where people put landmarks?"
NETWORKS = "the landmarks by each network that is here"
REPORT = "all studies and a montage as one HTML page that opens offline"
STUDIES = {
    "repeatability": (
        repeatability,
        "are the same points found when the photograph is warped, mirrored, shifted, lit, noisy?",
    ),
    "deletion": (deletion, "does the class go when the keypoints are blurred away?"),
    "sanity": (sanity, "do maps and keypoints depend on the weights and on the class?"),
    "patches": (patches, "the paper's comparison of occluders, and more colours and scales"),
}
Bar = Callable[[str, Iterable[Any]], Iterable[Any]]


def add_studies(commands: Any) -> list[argparse.ArgumentParser]:
    """The parsers of all studies, without the service's options."""
    marked = [
        commands.add_parser(name, help=what)
        for name, what in (("landmarks", LANDMARKS), ("networks", NETWORKS), ("report", REPORT))
    ]
    for command in marked:
        command.add_argument(
            "--annotations",
            type=Path,
            required=True,
            metavar="FILE",
            help="COCO keypoints, or FG3DCar's ground_truth.mat",
        )
        command.add_argument(
            "--images",
            type=Path,
            required=True,
            metavar="DIR",
            help="what its file names are relative to",
        )
        command.add_argument(
            "--boxes",
            choices=["annotation", "landmarks"],
            default="annotation",
            help="landmarks: the paper's rule",
        )
    plain = [commands.add_parser(name, help=what) for name, (_, what) in STUDIES.items()]
    for command in plain:
        command.add_argument("--images", type=Path, required=True, metavar="DIR")
    for command in (marked[2], *plain):
        command.add_argument(
            "--limit",
            type=int,
            default=30,
            metavar="N",
            help="photographs drawn from it (default: %(default)s)",
        )
    marked[2].add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="the page, and rows as with --resume"
    )
    for command in (*marked[:2], *plain):
        command.add_argument(
            "--resume",
            type=Path,
            metavar="DIR",
            help="keep each photograph's row here, and go on from those that are there",
        )
        command.add_argument(
            "--html",
            type=Path,
            metavar="FILE",
            help="write the figures and pictures as a page, too",
        )
    for command in (*marked, *plain):
        command.set_defaults(study=command.prog.split()[-1])
    return [*marked, *plain]


@dataclass(frozen=True)
class Asked:
    """The arguments of a study, and the progress bar to show it with."""

    args: argparse.Namespace
    bar: Bar

    def photographs(self) -> tuple[Landmarked, ...]:
        read = read_fg3dcar if self.args.annotations.suffix == ".mat" else read_coco
        return read(self.args.annotations, self.args.images, self.args.boxes)

    def wrong(self) -> str | None:
        """What is wrong with them, in words."""
        if not self.args.images.is_dir():
            return f"{self.args.images} is not a folder"
        if getattr(self.args, "limit", 1) < 1:
            return f"--limit is {self.args.limit}, which must be 1 or more"
        return None

    def paths(self) -> tuple[Path, ...]:
        return sample(self.args.images, self.args.limit)

    def rows(self, study: str, detector: Detector) -> Rows:
        folder = self.args.out if self.args.study == "report" else self.args.resume
        return Rows(
            partial(self.bar, study),
            folder,
            f"{study} {__version__} {detector.model.sha256} {self.args.options}",
        )

    def measure(self, study: str, detector: Detector) -> dict[str, Any]:
        if study == "landmarks":
            return landmarks(
                detector, self.photographs(), self.args.options, self.rows(study, detector)
            )
        return STUDIES[study][0](
            detector, self.paths(), self.args.options, self.rows(study, detector)
        )

    def compare(self, detectors: Iterable[Detector]) -> dict[str, Any]:
        return networks(
            detectors, self.photographs(), self.args.options, partial(self.rows, "networks")
        )

    def page(
        self, title: str, figures: dict[str, dict[str, Any]], detector: Detector | None
    ) -> str:
        """Figures by study; with a montage of the photographs that have landmarks if there is a detector to look at them."""
        questions = {
            "landmarks": LANDMARKS,
            "networks": NETWORKS,
            **{name: question for name, (_, question) in STUDIES.items()},
        }
        pictures = detector is not None and "landmarks" in figures
        rows = (
            [
                montage(detector, each, self.args.options)
                for each in self.bar("montage", self.photographs())
            ]
            if detector and pictures
            else []
        )
        return page(
            f"weakpoints: {title}",
            {name: (questions[name], found) for name, found in figures.items()},
            rows,
        )
