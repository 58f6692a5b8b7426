"""A collection's rows as COCO keypoints and as Parquet.

They are written row by row, whatever their number. Each file is put in place in one move.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from app.batch.records import Row
from app.schemas import WireKeypoint

Rows = Callable[[], Iterator[Row]]
GROUP = 1000  # photographs a row group of Parquet


def write_coco(path: Path, rows: Rows, labels: Iterable[str], description: str) -> None:
    """One annotation a photograph: x, y, v triples, strongest first, their confidences beside them.

    `errors` has what failed.
    """
    parts = {
        "images": (
            {"id": i, "file_name": row.file_name, "width": row.width, "height": row.height}
            for i, row in _good(rows)
        ),
        "annotations": (
            {"id": i, "image_id": i, "iscrowd": 0, **_annotation(row)} for i, row in _good(rows)
        ),
        "categories": (
            {"id": i, "name": label, "keypoints": [], "skeleton": []}
            for i, label in enumerate(labels, 1)
        ),
        "errors": (
            {"file_name": row.file_name, "error": row.error}
            for row in rows()
            if row.error is not None
        ),
    }
    with _whole(path) as partial, partial.open("w") as file:
        file.write(json.dumps({"info": {"description": description}})[:-1])
        for name, items in parts.items():
            file.write(f', "{name}": [')
            for i, item in enumerate(items):
                file.write(("\n" if i == 0 else ",\n") + json.dumps(item))
            file.write("]")
        file.write("}\n")


def write_parquet(path: Path, rows: Rows, stamp: dict[str, Any]) -> None:
    """One row a keypoint, strongest first.

    A photograph without any keypoint has one row without a keypoint, and so has one that failed.
    """
    import pyarrow as pa  # heavy, and wanted here alone
    import pyarrow.parquet as pq

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
    }
    schema = pa.schema(list(kinds.items()), metadata={"weakpoints": json.dumps(stamp)})
    left = rows()
    with _whole(path) as partial, pq.ParquetWriter(partial, schema) as writer:
        while group := [record for row in islice(left, GROUP) for record in _records(row)]:
            writer.write_table(pa.Table.from_pylist(group, schema))


def _good(rows: Rows) -> Iterator[tuple[int, Row]]:
    return enumerate((row for row in rows() if row.error is None), 1)


def _annotation(row: Row) -> dict[str, Any]:
    points = [point.model_dump() for point in row.keypoints]
    xs, ys = [p["x"] for p in points], [p["y"] for p in points]
    box = [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)] if points else [0, 0, 0, 0]
    return {
        "category_id": (row.class_id or 0) + 1,
        "score": row.probability,
        "keypoints": [number for p in points for number in (p["x"], p["y"], 2)],
        "num_keypoints": len(points),
        "confidences": [p["confidence"] for p in points],
        "bbox": [round(number, 3) for number in box],
        "area": round(box[2] * box[3], 3),
        "low_evidence": row.low_evidence,
    }


def _records(row: Row) -> Iterator[dict[str, Any]]:
    about = row.model_dump(exclude={"keypoints"})
    if not row.keypoints:
        yield about
    for rank, point in enumerate(row.keypoints):
        yield about | {"rank": rank} | _flat(point)


def _flat(point: WireKeypoint) -> dict[str, Any]:
    figures = point.model_dump()
    if covariance := figures.pop("covariance"):
        (xx, xy), (_, yy) = covariance
        figures |= {"covariance_xx": xx, "covariance_xy": xy, "covariance_yy": yy}
    return figures


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    partial = path.with_name(path.name + ".partial")
    yield partial
    os.replace(partial, path)
