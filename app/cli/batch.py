"""`weakpoints batch`."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from app.cli.parameters import Json, Network, OptionFlags, Where
from app.cli.terminal import bar, say, show

if TYPE_CHECKING:
    from app.batch.collection import Collection
    from app.batch.run import Engine
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
    as_json: Json = False,
    network: Network = Network(),
    where: Where = Where(),
    given: OptionFlags = OptionFlags(),
) -> int:
    """a collection of photographs into COCO keypoints and Parquet"""
    from app.batch.collection import open_collection, told
    from app.batch.run import run_batch
    from app.loading import loaded
    from weakpoints.errors import BadOption

    settings, options = network.settings(), given.options()
    try:
        collection = open_collection(source, outside, images)
    except BadOption as error:
        return say(str(error), 2)
    detector = loaded(settings)
    with _engine(where, detector, collection, options, settings) as engine:
        progress = partial(bar, "detect")
        summary = run_batch(
            engine, detector.model, options, collection, out, resume=resume, progress=progress
        )
    for failure in summary.failures:
        say(failure)
    done = f"{summary.done} done, {summary.skipped} done before, {summary.failed} failed"
    show(as_json, asdict(summary), f"{out}: {done}")
    if summary.left_out:
        say(f"{summary.left_out} files were not taken for photographs{told(collection.left_out)}")
    return 1 if summary.failed else 0


@contextmanager
def _engine(
    where: Where,
    detector: "Detector",
    collection: "Collection",
    options: "Options",
    settings: "Settings",
) -> Iterator["Engine"]:
    """What detects: this process, or tasks on Ray, where each loads its own network."""
    reader, limits = collection.reader, settings.limits
    if where.engine != "ray":
        from app.batch.run import plain

        yield plain(detector, reader, options, limits)
        return
    from app.cluster.data import on_ray
    from app.cluster.start import connected
    from app.loading import loaded

    with connected():
        yield on_ray(partial(loaded, settings), where.share, reader, options, limits)
