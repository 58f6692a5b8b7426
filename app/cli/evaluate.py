"""`weakpoints evaluate`: is it any good?"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from app.cli.correspondence import correspondence
from app.cli.outputs import REPORT, OutputFlags, check_charts, check_output
from app.cli.parameters import Count, Folder, Json, NetworkFlags, OptionFlags, command_group
from app.cli.studies import (
    ON_LANDMARKS,
    ON_PHOTOGRAPHS,
    STUDIES,
    measure,
    montages,
    records,
    report_page,
)
from app.cli.terminal import bar, say, show

if TYPE_CHECKING:
    from weakpoints.evaluation.photographs import Landmarked
    from weakpoints.method.detector import Detector

evaluate = command_group("evaluate", "measure how good it is")
evaluate.command(correspondence)

ByClass = Annotated[
    Folder, Parameter(help="one sub-folder for each class, named by label or index")
]
Limit = Annotated[Count, Parameter(help="photographs drawn from the folder")]
PhotographsFlag = Annotated[Folder, Parameter(help="folder of photographs")]


@Parameter(name="*")
@dataclass(frozen=True)
class MarkedPhotographs:
    """Photographs with landmarks."""

    annotations: Annotated[
        tuple[Path, ...],
        Parameter(
            negative=(), help="COCO keypoints, or FG3DCar's ground_truth.mat; repeat it for several"
        ),
    ]
    images: Annotated[
        tuple[Folder, ...],
        Parameter(
            negative=(), help="what its file names are relative to; one for each annotation file"
        ),
    ]
    boxes: Annotated[
        Literal["annotation", "landmarks"], Parameter(help="landmarks: the paper's rule")
    ] = "annotation"

    def photographs(self) -> tuple["Landmarked", ...]:
        """Those of every file. Raises BadOption."""
        from weakpoints.errors import BadOption
        from weakpoints.evaluation.fg3dcar import read_fg3dcar
        from weakpoints.evaluation.photographs import apart, read_coco

        if len(self.annotations) != len(self.images):
            raise BadOption(
                f"there are {len(self.annotations)} annotation files and {len(self.images)} "
                "folders of images; each file needs one"
            )
        return tuple(
            replace(photograph, source=source)
            for file, folder, source in zip(
                self.annotations, self.images, apart(self.annotations), strict=True
            )
            for photograph in (read_fg3dcar if file.suffix == ".mat" else read_coco)(
                file, folder, self.boxes
            )
        )


@evaluate.command
def accuracy(
    *,
    images: Annotated[Folder, Parameter(help="folder with one sub-folder for each class")],
    as_json: Json = False,
    network: NetworkFlags = NetworkFlags(),
) -> int:
    """top-1 and top-5 on a folder with one sub-folder a class"""
    from app.loading import loaded
    from weakpoints.evaluation.accuracy import accuracy

    figures = accuracy(loaded(network.settings()), images, partial(bar, "classify"))
    for failure in figures.failed:
        say(failure)
    text = (
        f"top-1 {figures.top1:.4f}, top-5 {figures.top5:.4f} on {figures.images} photographs; "
        f"top-1 as a mean over classes {figures.top1_per_class:.4f}"
    )
    show(as_json, asdict(figures), text)
    return 1 if figures.failed else 0


@evaluate.command(help=ON_LANDMARKS["landmarks"].question)
def landmarks(
    *,
    marked: MarkedPhotographs,
    outputs: OutputFlags = OutputFlags(),
    as_json: Json = False,
    network: NetworkFlags = NetworkFlags(),
    given: OptionFlags = OptionFlags(),
) -> int:
    return _study("landmarks", marked.photographs, outputs, as_json, network, given)


def _on_photographs(name: str) -> Callable[..., int]:
    """The command of a study on a folder of photographs."""

    def study(
        *,
        images: PhotographsFlag,
        limit: Limit = 30,
        outputs: OutputFlags = OutputFlags(),
        as_json: Json = False,
        network: NetworkFlags = NetworkFlags(),
        given: OptionFlags = OptionFlags(),
    ) -> int:
        from weakpoints.evaluation.photographs import sample

        return _study(name, partial(sample, images, limit), outputs, as_json, network, given)

    return study


for name, study in ON_PHOTOGRAPHS.items():
    evaluate.command(_on_photographs(name), name=name, help=study.question)


@evaluate.command(help=STUDIES["pairs"].question)
def pairs(
    *,
    images: ByClass,
    limit: Annotated[Count, Parameter(help="pairs drawn from the folder")] = 48,
    outputs: OutputFlags = OutputFlags(),
    as_json: Json = False,
    network: NetworkFlags = NetworkFlags(),
    given: OptionFlags = OptionFlags(),
) -> int:
    from app.loading import loaded
    from weakpoints.evaluation.pairs import choose_cases
    from weakpoints.evaluation.photographs import folders_by_class

    detector = loaded(network.settings())
    cases = choose_cases(folders_by_class(images, detector.model.labels), limit)
    return _measured_here("pairs", detector, cases, outputs, as_json, given)


@evaluate.command(help=STUDIES["fidelity"].question)
def fidelity(
    *,
    images: ByClass,
    limit: Annotated[Count, Parameter(help="photographs; half as many grids of four")] = 24,
    captum: Annotated[
        bool, Parameter(negative=(), help="measure Captum's methods beside ours; it needs captum")
    ] = False,
    outputs: OutputFlags = OutputFlags(),
    as_json: Json = False,
    network: NetworkFlags = NetworkFlags(),
    given: OptionFlags = OptionFlags(),
) -> int:
    from app.loading import loaded
    from weakpoints.evaluation.fidelity import choose_cases
    from weakpoints.evaluation.photographs import folders_by_class

    detector = loaded(network.settings())
    classes = folders_by_class(images, detector.model.labels)
    cases = choose_cases(classes, limit, captum)
    return _measured_here("fidelity", detector, cases, outputs, as_json, given)


def _study(
    name: str,
    photographs: Callable[[], Sequence[Any]],
    outputs: OutputFlags,
    as_json: bool,
    network: NetworkFlags,
    given: OptionFlags,
) -> int:
    from app.loading import loaded

    chosen = photographs()
    return _measured_here(name, loaded(network.settings()), chosen, outputs, as_json, given)


def _measured_here(
    name: str,
    detector: "Detector",
    chosen: Sequence[Any],
    outputs: OutputFlags,
    as_json: bool,
    given: OptionFlags,
) -> int:
    from weakpoints.evaluation.report import flat

    options = given.options()
    figures = measure(name, detector, chosen, options, outputs.resume)
    if outputs.html:
        pictures = montages(detector, chosen, options) if name in ON_LANDMARKS else ()
        outputs.html.write_text(report_page(detector.model.name, {name: figures}, pictures))
    show(as_json, figures, flat(figures))
    return 0


@evaluate.command(help=ON_LANDMARKS["networks"].question)
def networks(
    *,
    marked: MarkedPhotographs,
    outputs: OutputFlags = OutputFlags(),
    as_json: Json = False,
    network: NetworkFlags = NetworkFlags(),
    given: OptionFlags = OptionFlags(),
) -> int:
    from app.loading import loaded
    from weakpoints.evaluation.report import flat
    from weakpoints.networks.manifest import read_manifest

    settings, options = network.settings(), given.options()
    entries = read_manifest(settings.manifest, settings.downloads)
    here = [name for name, entry in entries.items() if entry.path.exists()]
    detectors = (loaded(settings.model_copy(update={"network": name})) for name in here)
    kept_at = partial(records, "networks", outputs.resume, options)
    figures = STUDIES["networks"].measure(detectors, marked.photographs(), options, kept_at)
    if outputs.html:
        outputs.html.write_text(report_page("networks", {"networks": figures}))
    show(as_json, figures, flat(figures))
    return 0


@evaluate.command
def report(
    *,
    marked: MarkedPhotographs,
    out: Annotated[Path, Parameter(help="folder for the page, and for records as with --resume")],
    limit: Limit = 30,
    as_json: Json = False,
    network: NetworkFlags = NetworkFlags(),
    given: OptionFlags = OptionFlags(),
) -> int:
    """all studies and a montage as one HTML page that opens offline"""
    from app.loading import loaded
    from weakpoints.errors import BadOption
    from weakpoints.evaluation.photographs import sample

    path = out / "report.html"
    try:
        check_charts()
        if path.exists():
            check_output(path, REPORT, "report of weakpoints")
    except ValueError as error:
        raise BadOption(str(error)) from None
    options, annotated = given.options(), marked.photographs()
    subset = sample(marked.images[0], limit)
    detector = loaded(network.settings())
    figures = {"landmarks": measure("landmarks", detector, annotated, options, out)}
    for name in ON_PHOTOGRAPHS:
        figures[name] = measure(name, detector, subset, options, out)
    path.write_text(
        report_page(detector.model.name, figures, montages(detector, annotated, options))
    )
    show(as_json, figures, str(path))
    return 0
