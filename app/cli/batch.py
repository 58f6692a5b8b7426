"""`weakpoints batch`."""

from contextlib import nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from app.cli.parameters import Json, Network, OptionFlags, Where
from app.cli.terminal import bar, say, show


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
    from app.batch.run import plain, run_batch
    from app.cluster.start import connected
    from app.errors import BadOption
    from app.loading import loaded

    settings, options = network.settings(), given.options()
    try:
        collection = open_collection(source, outside, images)
    except BadOption as error:
        return say(str(error), 2)
    detector = loaded(settings)
    with connected() if where.engine == "ray" else nullcontext():
        if where.engine == "ray":
            from app.cluster.data import on_ray

            load = partial(loaded, settings)
            engine = on_ray(load, where.share, collection.reader, options, settings.limits)
        else:
            engine = plain(detector, collection.reader, options, settings.limits)
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
