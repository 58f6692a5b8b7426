"""labelme's JSON, one file for each photograph; the shapes of an object share a `group_id`."""

import json
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from weakpoints.errors import BadAnnotations
from weakpoints.landmarks.exports.as_coco import (
    OBJECT,
    SEEN,
    Exported,
    Triple,
    finite,
    once,
    size_of,
)
from weakpoints.landmarks.exports.photographs import Photographs


def read_folder(folder: Path, photographs: Photographs) -> list[Exported]:
    """Every file of labelme's in a folder and below. Raises BadAnnotations."""
    objects = list[Exported]()
    for path in sorted(folder.rglob("*.json")):
        try:
            document = json.loads(path.read_bytes())
        except (ValueError, RecursionError) as error:
            raise BadAnnotations(f"{path.name} is not JSON: {error}") from error
        if isinstance(document, dict) and "shapes" in document:
            objects += objects_of(document, path, photographs)
    return objects


def objects_of(
    document: dict[str, Any], file: Path, photographs: Photographs
) -> Iterator[Exported]:
    """Of one file. Its `imagePath` is relative to where it lies; else to the photographs."""
    source, path = file.name, str(document.get("imagePath", "")).replace("\\", "/")
    beside = os.path.relpath(file.parent / path, photographs.folder)
    names = [Path(beside).as_posix(), path, PurePosixPath(path).name]
    size = size_of(document, "imageWidth", "imageHeight", source)
    if not path:
        raise BadAnnotations(f"{source} has no `imagePath`")
    shapes = document["shapes"]
    if not isinstance(shapes, list) or not all(isinstance(shape, dict) for shape in shapes):
        raise BadAnnotations(f"{source}: `shapes` is no list of objects")
    boxes, groups = dict[str, str](), dict[str, list[dict[str, Any]]]()
    for shape in shapes:
        if shape.get("shape_type") == "rectangle":
            boxes.setdefault(str(shape.get("group_id")), str(shape.get("label")))
        if shape.get("shape_type") == "point":
            groups.setdefault(str(shape.get("group_id")), []).append(shape)
    name = photographs.resolve(names)
    for group, points in groups.items():
        named = [(str(point.get("label")), _triple(point, source)) for point in points]
        category = boxes.get(group, OBJECT)
        yield Exported(name, size, category, once(named, source, name))


def _triple(shape: dict[str, Any], source: str) -> Triple:
    points = shape.get("points")
    if not isinstance(points, list) or len(points) != 1 or not isinstance(points[0], list):
        raise BadAnnotations(f"{source}: a point has no `points`: [[x, y]]")
    if len(points[0]) != 2:
        raise BadAnnotations(f"{source}: a point has {len(points[0])} coordinates; 2 are expected")
    x, y = (finite(figure, source, "a point") for figure in points[0])
    return x, y, SEEN
