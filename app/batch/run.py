"""A collection of photographs into COCO keypoints and Parquet, resumable after any interruption, whatever engine computes."""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app import __version__
from app.batch.collection import Collection, Reader, reason
from app.batch.records import Row, found_row, open_log
from app.batch.tables import write_coco, write_parquet
from app.errors import DeviceLost, WeakpointsError
from app.method.detector import Detector
from app.method.localization import Model
from app.options import Limits, Options

Engine = Callable[[Sequence[str]], Iterator[str]]
"""From names to the lines of their rows, in any order."""
Progress = Callable[[Iterable[str], int], Iterable[str]]
TOLD = 20  # failures that a summary tells; the files have them all


@dataclass(frozen=True)
class Summary:
    """How many photographs were done now, had been done before, and failed; some of the failures (file: reason)."""

    done: int
    skipped: int
    failed: int
    seconds: float
    failures: tuple[str, ...]


def run_batch(
    engine: Engine,
    model: Model,
    options: Options,
    collection: Collection,
    out: Path,
    *,
    resume: bool,
    progress: Progress,
) -> Summary:
    """Each row goes to `out/rows.jsonl` as it is done; at the end they become `keypoints.coco.json` and `keypoints.parquet`.

    What failed is tried again when a run is resumed.
    """
    stamp = {
        "version": __version__,
        "network": model.sha256,
        "precision": model.precision,
        "options": json.loads(json.dumps(asdict(options))),
    }
    start, names = time.perf_counter(), collection.names
    out.mkdir(parents=True, exist_ok=True)
    with open_log(out / "rows.jsonl", stamp, resume) as log:
        todo = [name for name in names if name not in log]
        for line in progress(engine(todo), len(todo)):
            log.add(line)
        if lost := [name for name in todo if name not in log and name not in log.failed]:
            raise WeakpointsError(
                f"{len(lost)} photographs did not come back, {lost[0]} is the first; go on with --resume"
            )
        rows = partial(log.rows, names)
        write_coco(
            out / "keypoints.coco.json",
            rows,
            model.labels,
            f"weakpoints {__version__}, network {model.name} {model.sha256[:12]}",
        )
        write_parquet(out / "keypoints.parquet", rows, stamp)
        failed = [name for name in todo if name in log.failed]
        failures = tuple(f"{row.file_name}: {row.error}" for row in log.rows(failed[:TOLD]))
    seconds = time.perf_counter() - start
    return Summary(
        len(todo) - len(failed), len(names) - len(todo), len(failed), round(seconds, 3), failures
    )


def plain(detector: Detector, reader: Reader, options: Options, limits: Limits) -> Engine:
    """One after the other, here."""

    def lines(names: Sequence[str]) -> Iterator[str]:
        for name in names:
            try:
                image = reader.image(name, limits)
            except (WeakpointsError, OSError) as error:
                yield Row(file_name=name, error=reason(error)).line
                continue
            yield located(detector, name, image, options)

    return lines


def located(detector: Detector, name: str, image: NDArray[np.uint8], options: Options) -> str:
    """The line of its row. Raises DeviceLost, after which there is no going on."""
    try:
        return found_row(name, detector.locate(image, options)).line
    except DeviceLost:
        raise
    except WeakpointsError as error:
        return Row(file_name=name, error=reason(error)).line
