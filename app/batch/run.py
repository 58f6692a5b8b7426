"""A collection of photographs into COCO keypoints and Parquet, whatever engine computes.

A run can be resumed after any interruption.
"""

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.batch.collection import Collection, PhotographReader, printable, reason
from app.batch.formats.formats import (
    DEFAULT_FORMAT,
    LabelFormat,
    outputs_of,
    write_formats,
)
from app.batch.formats.labelled import labelled_collection
from app.batch.named import NamedLocator, Patterns, categories_of, digest_of
from app.batch.named_tables import write_named_coco, write_named_parquet
from app.batch.records import ResultRow, found_row, named_row, open_log
from app.batch.tables import TableRows, write_coco, write_parquet
from app.decoding.pool import Decoders
from weakpoints import __version__
from weakpoints.errors import BadOption, DeviceLost, WeakpointsError
from weakpoints.landmarks.named import Named
from weakpoints.method.detector import Detector
from weakpoints.method.localization import Model
from weakpoints.options import Limits, Options

Engine = Callable[[Sequence[str]], Iterator[str]]
"""From names to the lines of their rows, in any order."""
OnPhotograph = Callable[[Iterable[str], int], Iterable[str]]
Locates = Detector | NamedLocator
LOG, COCO, PARQUET = "rows.jsonl", "keypoints.coco.json", "keypoints.parquet"
OUTPUTS = (LOG, COCO, PARQUET)
LISTED_FAILURES = 20  # failures that a summary tells; the files have them all


@dataclass(frozen=True)
class Summary:
    """How many photographs were done now, had been done before, and failed.

    failures: some of those that failed (file: reason).
    left_out: files of the folder that were not taken for photographs.
    """

    done: int
    skipped: int
    failed: int
    seconds: float
    failures: tuple[str, ...]
    left_out: int = 0


def run_batch(
    engine: Engine,
    model: Model,
    options: Options,
    collection: Collection,
    out: Path,
    *,
    resume: bool,
    progress: OnPhotograph,
    patterns: Patterns | None = None,
    formats: Sequence[LabelFormat] = DEFAULT_FORMAT,
) -> Summary:
    """Looks at each photograph of the collection and writes what was found into `out`.

    Each row goes to `out/rows.jsonl` as it is done. At the end the rows become
    `keypoints.parquet` and what `formats` say, `keypoints.coco.json` if nothing else. What failed
    is tried again when a run is resumed.
    Raises WeakpointsError in one sentence where `out` can't be written. What was done until then is
    kept.
    """
    start = time.perf_counter()
    try:
        out.mkdir(parents=True, exist_ok=True)
        check_outputs(out, collection, outputs_of(formats))
        done, failures, failed = _result_rows(
            engine,
            model,
            options,
            collection,
            out,
            resume=resume,
            progress=progress,
            patterns=patterns,
            formats=formats,
        )
    except OSError as error:  # an engine's own are records
        raise WeakpointsError(
            f"{printable(str(out))} can't be written: {reason(error)}; "
            "when it can, go on with --resume"
        ) from error
    return Summary(
        done - failed,
        len(collection.names) - done,
        failed,
        round(time.perf_counter() - start, 3),
        failures,
        sum(collection.left_out.values()),
    )


def check_outputs(out: Path, collection: Collection, more: Sequence[str] = ()) -> None:
    """Raises BadOption where a file would be written over that no run of this command made.

    more: outputs beside those of every run.
    """
    for name in (*OUTPUTS, *more):
        path = out / name
        if not path.exists():
            continue
        if collection.source is not None and os.path.samefile(path, collection.source):
            raise BadOption(f"{path} is the source; name another folder for --out")
        # Beside a log, such files are of an earlier run of this command.
        if not (out / LOG).exists():
            raise BadOption(
                f"{path} is there, and no run of this command made it (there is no {LOG} beside "
                "it); name another folder for --out"
            )


def _result_rows(
    engine: Engine,
    model: Model,
    options: Options,
    collection: Collection,
    out: Path,
    *,
    resume: bool,
    progress: OnPhotograph,
    patterns: Patterns | None,
    formats: Sequence[LabelFormat],
) -> tuple[int, tuple[str, ...], int]:
    """How many photographs were looked at now, some of the failures, and how many there were."""
    stamp = {
        "version": __version__,
        "network": model.sha256,
        "entry": model.entry_sha256,
        "precision": model.precision,
        "options": json.loads(json.dumps(asdict(options))),
    }
    if patterns is not None:
        stamp["landmarks"] = digest_of(patterns)
    names, refused = collection.names, collection.refused
    made_of = {name: collection.reader.fingerprint(name) for name in names if name not in refused}
    with open_log(out / LOG, stamp, resume) as log:
        # A photograph that changed since is looked at again.
        todo = [name for name in names if not log.has(name, made_of.get(name))]
        for name in todo:
            if name in refused:
                log.add(ResultRow(file_name=name, error=refused[name]).line, made_of)
        wanted = [name for name in todo if name not in refused]
        for line in progress(engine(wanted), len(wanted)):
            log.add(line, made_of)
        # An engine may lose a worker with what it had; a table without these would seem complete.
        if lost := [name for name in todo if name not in log and name not in log.failed]:
            raise WeakpointsError(
                f"{len(lost)} photographs did not come back, {lost[0]} is the first; "
                "go on with --resume"
            )
        _write_outputs(out, model, stamp, collection, partial(log.rows, names), patterns, formats)
        failed = [name for name in todo if name in log.failed]
        failures = tuple(
            f"{row.file_name}: {row.error}" for row in log.rows(failed[:LISTED_FAILURES])
        )
    return len(todo), failures, len(failed)


def _write_outputs(
    out: Path,
    model: Model,
    stamp: dict[str, Any],
    collection: Collection,
    rows: TableRows,
    patterns: Patterns | None,
    formats: Sequence[LabelFormat],
) -> None:
    """Parquet and the formats, of the rows of a run that has ended."""
    description = f"weakpoints {__version__}, network {model.name} {model.sha256[:12]}"
    categories = None if patterns is None else categories_of(patterns, model.labels)
    if categories is None:
        write_parquet(out / PARQUET, rows, stamp)
    else:
        write_named_parquet(out / PARQUET, rows, stamp)
    if "coco" in formats and categories is None:
        write_coco(out / COCO, rows, model.labels, description, collection.ids)
    elif "coco" in formats and categories is not None:
        write_named_coco(out / COCO, rows, categories, description, collection.ids)
    version = f"weakpoints-{__version__}-{model.name}-{model.sha256[:12]}"
    folder = collection.reader.folder
    write_formats(
        out,
        formats,
        labelled_collection(rows, collection.ids, model.labels, categories, folder, version),
    )


def plain(detector: Locates, reader: PhotographReader, options: Options, limits: Limits) -> Engine:
    """One after the other, here; files are decoded in a child."""

    def lines(names: Sequence[str]) -> Iterator[str]:
        with Decoders(1, limits) as decoders:
            for name in names:
                try:
                    data = reader.read(name, limits.max_bytes)
                    image = decoders.decode(data, background=options.background)
                except Exception as error:  # of a file system or a file: whatever it is, its record
                    yield ResultRow(file_name=name, error=reason(error)).line
                    continue
                yield located(detector, name, image, options)

    return lines


def located(detector: Locates, name: str, image: NDArray[np.uint8], options: Options) -> str:
    """The line of its row. Raises DeviceLost, after which there is no going on."""
    try:
        result = detector.locate(image, options)
        row = named_row(name, result) if isinstance(result, Named) else found_row(name, result)
        return row.line
    except DeviceLost:
        raise
    except Exception as error:
        return ResultRow(file_name=name, error=reason(error)).line
