"""A collection's rows as COCO keypoints and as Parquet.

They are written row by row, whatever their number. Each file is put in place in one move.
"""

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count, islice
from pathlib import Path
from typing import Any

from app.batch.coco import coco_annotation, coco_category, coco_image
from app.batch.records import ResultRow
from app.schemas.answers import WireKeypoint

TableRows = Callable[[], Iterator[ResultRow]]
GROUP = 1000  # photographs a row group of Parquet


def write_coco(
    path: Path, rows: TableRows, labels: Sequence[str], description: str, ids: Mapping[str, int]
) -> None:
    """COCO keypoints as `coco.py` says; `errors` has what failed.

    ids: of photographs that have one already, as in the COCO file that went in.
    """
    # COCO has as many points in each annotation as its category names.
    most = _most_points(rows)
    number = count(1)
    parts = {
        "images": (
            coco_image(i, row.file_name, row.width or 0, row.height or 0)
            for i, row in good_rows(rows, ids)
        ),
        "annotations": (
            coco_annotation(next(number), i, target, points, most[target])
            | ({"score": row.probability} if target == row.class_id else {})
            | {"low_evidence": row.low_evidence}
            for i, row in good_rows(rows, ids)
            for target, points in keypoints_by_class(row).items()
        ),
        "categories": (coco_category(i, label, most[i]) for i, label in enumerate(labels)),
        "errors": (
            {"file_name": row.file_name, "error": row.error}
            for row in rows()
            if row.error is not None
        ),
    }
    write_parts(path, description, parts)


def write_parts(
    path: Path, description: str, parts: Mapping[str, Iterator[dict[str, Any]]]
) -> None:
    """A COCO file, written entry by entry: it may be larger than memory."""
    with in_one_move(path) as partial, partial.open("w") as file:
        file.write(json.dumps({"info": {"description": description}})[:-1])
        for name, items in parts.items():
            file.write(f', "{name}": [')
            for i, item in enumerate(items):
                file.write(("\n" if i == 0 else ",\n") + json.dumps(item))
            file.write("]")
        file.write("}\n")


def write_parquet(path: Path, rows: TableRows, stamp: dict[str, Any]) -> None:
    """One row a keypoint, strongest first.

    A photograph without any keypoint has one row without a keypoint, and so has one that failed.
    """
    import pyarrow as pa  # heavy, and wanted here alone

    text, whole, figure, flag = pa.string(), pa.int32(), pa.float64(), pa.bool_()
    kinds = {
        "file_name": text,
        "error": text,
        "width": whole,
        "height": whole,
        "class_id": whole,
        "label": text,
        "probability": figure,
        "low_evidence": flag,
        "rank": whole,
        "x": figure,
        "y": figure,
        "confidence": figure,
        "log_likelihood": figure,
        "coarse": figure,
        "fine": figure,
        "refined": flag,
        "covariance_xx": figure,
        "covariance_xy": figure,
        "covariance_yy": figure,
        "drop": figure,
        "drop_error": figure,
    }
    write_table(path, kinds, stamp, rows, _table_records)


def write_table(
    path: Path,
    kinds: dict[str, Any],
    stamp: dict[str, Any],
    rows: TableRows,
    records: Callable[[ResultRow], Iterator[dict[str, Any]]],
) -> None:
    """Parquet with columns of these kinds; `records` makes the lines of a photograph's row."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(list(kinds.items()), metadata={"weakpoints": json.dumps(stamp)})
    left = rows()
    with in_one_move(path) as partial, pq.ParquetWriter(partial, schema) as writer:
        while group := [record for row in islice(left, GROUP) for record in records(row)]:
            writer.write_table(pa.Table.from_pylist(group, schema))


def good_rows(rows: TableRows, ids: Mapping[str, int]) -> Iterator[tuple[int, ResultRow]]:
    """Those without an error, with their ids; who has none gets the next free one from 1."""
    taken = set(ids.values())
    # Ids that the collection brought stay; new ones go around them.
    free = (number for number in count(1) if number not in taken)
    for row in rows():
        if row.error is None:
            given = ids.get(row.file_name)
            yield (next(free) if given is None else given), row


def keypoints_by_class(row: ResultRow) -> dict[int, list[WireKeypoint]]:
    """The keypoints of each class that was explained, the first one's even if it has none."""
    keypoints_by_class: dict[int, list[WireKeypoint]] = {row.class_id or 0: []}
    for point in row.keypoints:
        keypoints_by_class.setdefault(point.target, []).append(point)
    return keypoints_by_class


def _most_points(rows: TableRows) -> Counter[int]:
    """By class, the keypoints of the photograph that has the most."""
    most = Counter[int]()
    for _, row in good_rows(rows, {}):
        for target, points in keypoints_by_class(row).items():
            most[target] = max(most[target], len(points))
    return most


def _table_records(row: ResultRow) -> Iterator[dict[str, Any]]:
    about = row.model_dump(exclude={"keypoints", "made_of"})
    if not row.keypoints:
        yield about
    for rank, point in enumerate(row.keypoints):
        yield about | {"rank": rank} | _flat_columns(point)


def _flat_columns(point: WireKeypoint) -> dict[str, Any]:
    figures = point.model_dump()
    if covariance := figures.pop("covariance"):
        (xx, xy), (_, yy) = covariance
        figures |= {"covariance_xx": xx, "covariance_xy": xy, "covariance_yy": yy}
    return figures


@contextmanager
def in_one_move(path: Path) -> Iterator[Path]:
    """A file beside it, which takes its place at the end."""
    # In the same folder: moving across file systems is no single step.
    partial = path.with_name(path.name + ".partial")
    yield partial
    os.replace(partial, path)
