"""A folder of photographs into one COCO keypoints file, resumable after any interruption."""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from app import __version__
from app.errors import BadOption, WeakpointsError
from app.image import Limits
from app.options import Options
from app.pipeline import Detector, Localization

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
Progress = Callable[[list[Path]], Iterable[Path]]


@dataclass(frozen=True)
class Summary:
    """How many photographs were done now, had been done before, and failed (file: reason)."""

    done: int
    skipped: int
    failed: tuple[str, ...]


def run_batch(detector: Detector, folder: Path, out: Path, options: Options, *, resume: bool, progress: Progress) -> Summary:
    """Each photograph's row goes to `out.partial` as it is done; at the end they become `out` in one move."""
    partial = out.with_name(out.name + ".partial")
    stamp = {"network": detector.model.sha256, "options": json.loads(json.dumps(asdict(options)))}
    rows = list(_earlier(partial, stamp)) if resume else []
    known = {row["file_name"] for row in rows}
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    todo = [file for file in files if file.relative_to(folder).as_posix() not in known]
    failed = []
    with partial.open("w") as log:
        for row in (stamp, *rows):
            log.write(json.dumps(row) + "\n")
        for file in progress(todo):
            name = file.relative_to(folder).as_posix()
            try:
                row = _row(name, detector(file.read_bytes(), options, Limits()))
            except (WeakpointsError, OSError) as error:
                failed.append(f"{name}: {error}")
                continue
            rows.append(row)
            log.write(json.dumps(row) + "\n")
            log.flush()
    whole = out.with_name(out.name + ".whole")
    whole.write_text(json.dumps(coco(rows, detector)))
    os.replace(whole, out)
    if not failed:
        partial.unlink()
    return Summary(len(todo) - len(failed), len(known), tuple(failed))


def coco(rows: list[dict[str, Any]], detector: Detector) -> dict[str, Any]:
    """COCO keypoints: one annotation a photograph, x, y, v triples strongest first, their confidences beside them."""
    rows = sorted(rows, key=lambda row: str(row["file_name"]))
    labels = detector.model.labels
    return {
        "info": {"description": f"weakpoints {__version__}, network {detector.model.name} {detector.model.sha256[:12]}"},
        "images": [
            {"id": i, "file_name": row["file_name"], "width": row["width"], "height": row["height"]} for i, row in enumerate(rows, 1)
        ],
        "annotations": [{"id": i, "image_id": i, "iscrowd": 0, **row["annotation"]} for i, row in enumerate(rows, 1)],
        "categories": [{"id": i, "name": label, "keypoints": [], "skeleton": []} for i, label in enumerate(labels, 1)],
    }


def _row(name: str, found: Localization) -> dict[str, Any]:
    xs, ys = [p.x for p in found.keypoints], [p.y for p in found.keypoints]
    box = [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)] if xs else [0, 0, 0, 0]
    return {
        "file_name": name,
        "width": found.width,
        "height": found.height,
        "annotation": {
            "category_id": found.target.class_id + 1,
            "score": round(found.target.probability, 6),
            "keypoints": [number for p in found.keypoints for number in (round(p.x, 3), round(p.y, 3), 2)],
            "num_keypoints": len(found.keypoints),
            "confidences": [round(p.confidence, 6) for p in found.keypoints],
            "bbox": [round(number, 3) for number in box],
            "area": round(box[2] * box[3], 3),
            "low_evidence": found.low_evidence,
        },
    }


def _earlier(partial: Path, stamp: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The rows of an interrupted run with the same network and options; a row that was cut while it was written is left out."""
    if not partial.exists():
        return
    lines = []
    for line in partial.read_text().splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            break
    if lines and lines[0] != stamp:
        raise BadOption(f"{partial} was begun with another network or other options; finish it with those, or start without --resume")
    yield from lines[1:]
