"""`weakpoints batch`."""

from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from app.cli.parameters import Json, NetworkFlags, OptionFlags, Where
from app.cli.terminal import bar, say, show

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from app.batch.collection import Collection
    from app.batch.formats.formats import LabelFormat
    from app.batch.named import Patterns
    from app.batch.run import Engine, Locates, Summary
    from app.settings import Settings
    from weakpoints.method.detector import Detector
    from weakpoints.options import Options


def batch(
    source: Annotated[
        str,
        Parameter(
            help="folder, list of files (.txt) or COCO file (.json); a path or any URL of fsspec"
        ),
    ],
    /,
    *,
    out: Annotated[
        Path, Parameter(help="folder for keypoints.coco.json, keypoints.parquet, rows.jsonl")
    ],
    resume: Annotated[
        bool,
        Parameter(
            help="go on where an interrupted run stopped, and try again what failed",
            show_default=False,
        ),
    ] = False,
    outside: Annotated[
        bool,
        Parameter(
            help="let a COCO file name photographs outside of its folder, and URLs",
            show_default=False,
        ),
    ] = False,
    images: Annotated[
        str | None,
        Parameter(help="folder of what a list or a COCO file names, if not its own"),
    ] = None,
    landmarks: Annotated[
        Path | None,
        Parameter(help="a landmark set: its named points on every photograph, no occlusion"),
    ] = None,
    consistent: Annotated[
        bool,
        Parameter(
            help="give the keypoints of each class one identity: P1, P2, ... on every photograph",
            show_default=False,
        ),
    ] = False,
    formats: Annotated[
        str,
        Parameter(
            name="--format",
            help="what to write beside Parquet: coco, yolo-pose, labelstudio, labelme, cvat; "
            "several with commas",
        ),
    ] = "coco",
    as_json: Json = False,
    network: NetworkFlags = NetworkFlags(),
    where: Where = Where(),
    given: OptionFlags = OptionFlags(),
) -> int:
    """a collection of photographs into COCO keypoints, files of labelling tools, and Parquet"""
    from app.batch.collection import left_out_by_kind, open_collection
    from app.batch.formats.formats import check_formats, formats_of
    from app.loading import loaded
    from weakpoints.errors import BadOption

    settings, options = network.settings(), given.options()
    if landmarks and consistent:
        return say("--landmarks and --consistent are two ways to name points; give one", 2)
    try:
        collection, written = open_collection(source, outside, images), formats_of(formats)
        check_formats(written, collection, bool(landmarks) or consistent)
    except BadOption as error:
        return say(str(error), 2)
    engine = _Engine(where, settings, collection, options, written)
    detector = loaded(settings)
    arguments = (engine, detector, out, resume)
    if landmarks:
        summary = _by_set(*arguments, landmarks)
    elif consistent:
        summary = _consistent(*arguments)
    else:
        summary = _run_batch(*arguments, partial(loaded, settings), detector)
    for failure in summary.failures:
        say(failure)
    done = f"{summary.done} done, {summary.skipped} done before, {summary.failed} failed"
    show(as_json, asdict(summary), f"{out}: {done}")
    if summary.left_out:
        kinds = left_out_by_kind(collection.left_out)
        say(f"{summary.left_out} files were not taken for photographs{kinds}")
    return 1 if summary.failed else 0


@dataclass(frozen=True)
class _Engine:
    """What all runs of a batch share."""

    where: Where
    settings: "Settings"
    collection: "Collection"
    options: "Options"
    formats: "Sequence[LabelFormat]"

    @contextmanager
    def of(self, load: "Callable[[], Locates]", here: "Locates") -> "Iterator[Engine]":
        """What computes: `here`, in this process, or tasks on Ray, where each loads its own."""
        reader, limits = self.collection.reader, self.settings.limits
        if self.where.engine != "ray":
            from app.batch.run import plain

            yield plain(here, reader, self.options, limits)
            return
        from app.cluster.data import on_ray
        from app.cluster.start import connected

        with connected():
            yield on_ray(load, self.where.share, reader, self.options, limits)


def _run_batch(
    run: _Engine,
    detector: "Detector",
    out: Path,
    resume: bool,
    load: "Callable[[], Locates]",
    here: "Locates",
    patterns: "Patterns | None" = None,
) -> "Summary":
    from app.batch.run import run_batch

    with run.of(load, here) as engine:
        return run_batch(
            engine,
            detector.model,
            run.options,
            run.collection,
            out,
            resume=resume,
            progress=partial(bar, "detect" if patterns is None else "landmarks"),
            patterns=patterns,
            formats=run.formats,
        )


def _by_set(
    run: _Engine, detector: "Detector", out: Path, resume: bool, landmarks: Path
) -> "Summary":
    """The landmarks of a set on every photograph."""
    from app.batch.named import by_set
    from app.loading import loaded
    from weakpoints.landmarks.landmark_set import LandmarkSet

    learnt = LandmarkSet.load(landmarks)
    here = by_set(lambda: detector, learnt)
    load = partial(by_set, partial(loaded, run.settings), learnt)
    return _run_batch(run, detector, out, resume, load, here, here.patterns)


def _consistent(run: _Engine, detector: "Detector", out: Path, resume: bool) -> "Summary":
    """First the keypoints of every photograph, in `out/keypoints`, then one identity for each.

    A run that is resumed keeps the identities that it gave, whatever photographs came since.
    """
    from app.batch.named import by_class, consistent_patterns, keep_patterns, kept_patterns
    from app.batch.records import read_rows
    from app.loading import loaded
    from weakpoints.images.decode import decode

    settings, first = run.settings, out / "keypoints"
    unnamed = replace(run, formats=("coco",))
    _run_batch(unnamed, detector, first, resume, partial(loaded, settings), detector)
    reader, limits = run.collection.reader, settings.limits

    def opened(name: str) -> "NDArray[np.uint8]":
        return decode(reader.read(name, limits.max_bytes), limits, run.options.background)

    sets = first / "sets"
    patterns = kept_patterns(sets) if resume else None
    if patterns is None:
        rows = read_rows(first / "rows.jsonl", run.collection.names)
        patterns = consistent_patterns(detector, rows, opened, run.options)
        keep_patterns(sets, patterns)
    load = partial(by_class, partial(loaded, settings), patterns)
    return _run_batch(
        run, detector, out, resume, load, by_class(lambda: detector, patterns), patterns
    )
