"""A collection's named points as COCO keypoints, with names and skeleton, and as Parquet."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from app.batch.coco import COCO_VISIBLE, coco_image
from app.batch.records import ResultRow
from app.batch.tables import TableRows, good_rows, write_parts, write_table
from weakpoints.coco import HALF


def write_named_coco(
    path: Path,
    rows: TableRows,
    categories: Sequence[dict[str, Any]],
    description: str,
    ids: Mapping[str, int],
) -> None:
    """One annotation for each photograph with landmarks; those not visible are 0, 0, 0."""
    known = {category["id"]: category for category in categories}
    number = count(1)
    parts = {
        "images": (
            coco_image(i, row.file_name, row.width or 0, row.height or 0)
            for i, row in good_rows(rows, ids)
        ),
        "annotations": (
            _annotation(next(number), i, row, category_of(row, known))
            for i, row in good_rows(rows, ids)
            if row.landmarks
        ),
        "categories": iter(categories),
        "errors": (
            {"file_name": row.file_name, "error": row.error}
            for row in rows()
            if row.error is not None
        ),
    }
    write_parts(path, description, parts)


def write_named_parquet(path: Path, rows: TableRows, stamp: dict[str, Any]) -> None:
    """One row a landmark; one without a landmark for a photograph that failed or has none."""
    import pyarrow as pa  # heavy, and wanted here alone

    text, whole, figure = pa.string(), pa.int32(), pa.float64()
    kinds = {
        **dict.fromkeys(("file_name", "error", "label", "name"), text),
        **dict.fromkeys(("width", "height", "class_id"), whole),
        **dict.fromkeys(("probability", "x", "y", "confidence"), figure),
        "visible": pa.bool_(),
        **dict.fromkeys(("covariance_xx", "covariance_xy", "covariance_yy"), figure),
    }
    write_table(path, kinds, stamp, rows, _records)


def category_of(row: ResultRow, known: Mapping[int, Mapping[str, Any]]) -> int:
    """A set for all photographs is the only category, and has 1."""
    mine = (row.class_id or 0) + 1
    return mine if mine in known and len(known[mine]["keypoints"]) == len(row.landmarks) else 1


def _annotation(number: int, image: int, row: ResultRow, category: int) -> dict[str, Any]:
    points = [point.model_dump() for point in row.landmarks]
    triples = [
        (round(p["x"] + HALF, 3), round(p["y"] + HALF, 3), COCO_VISIBLE)
        if p["visible"]
        else (0, 0, 0)
        for p in points
    ]
    x, y, w, h = row.model_dump()["bbox"] or (0.0, 0.0, 0.0, 0.0)
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "iscrowd": 0,
        "keypoints": [figure for triple in triples for figure in triple],
        "num_keypoints": sum(p["visible"] for p in points),
        "confidences": [p["confidence"] for p in points],
        "bbox": [round(x + HALF, 3), round(y + HALF, 3), w, h],
        "area": round(w * h, 3),
        "score": row.model_dump()["probability"],
    }


def _records(row: ResultRow) -> Iterator[dict[str, Any]]:
    about = row.model_dump(include={"file_name", "error", "label", "width", "height", "class_id"})
    about["probability"] = row.probability
    if not row.landmarks:
        yield about
    for point in row.landmarks:
        figures = point.model_dump()
        (xx, xy), (_, yy) = figures.pop("covariance")
        yield about | figures | {"covariance_xx": xx, "covariance_xy": xy, "covariance_yy": yy}
