"""Label Studio's JSON: tasks, whose annotations have regions in percent of the picture."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from weakpoints.errors import BadAnnotations
from weakpoints.landmarks.coco_parts import MOST_NAME
from weakpoints.landmarks.exports.as_coco import OBJECT, SEEN, Exported, finite, once, size_of
from weakpoints.landmarks.exports.photographs import Photographs

UPLOADED = re.compile(r"^[0-9a-f]{8}-")  # what Label Studio puts before the name of an upload
Region = Mapping[str, Any]


def read_tasks(tasks: Sequence[Any], source: str, photographs: Photographs) -> list[Exported]:
    """The objects of every annotated task; `source` is what to call the file."""
    return [
        thing
        for number, task in enumerate(tasks)
        for thing in objects_of(task, f"task {number} of {source}", photographs)
    ]


def objects_of(task: Any, source: str, photographs: Photographs) -> Iterator[Exported]:
    """Of one task: of its last annotation that has keypoints and was not skipped."""
    results = results_of(task)
    if results:
        name = photographs.resolve(file_names(task, source))
        yield from objects_of_result(results[-1], name, source)


def results_of(task: Any) -> list[Sequence[Region]]:
    """The regions of each annotation with a keypoint."""
    annotations = task.get("annotations") if isinstance(task, dict) else None
    results = list[Sequence[Region]]()
    for annotation in annotations if isinstance(annotations, list) else []:
        if isinstance(annotation, dict) and not annotation.get("was_cancelled"):
            regions = annotation.get("result")
            if isinstance(regions, list) and any(is_keypoint(region) for region in regions):
                results.append(regions)
    return results


def is_keypoint(region: Any) -> bool:
    return _labels(region, "keypointlabels") != ()


def objects_of_result(regions: Sequence[Region], file_name: str, source: str) -> Iterator[Exported]:
    """Points below the same box are an object; those below none, too.

    A single box is the object's, whether points are grouped below it or not.
    """
    boxes = {
        str(region.get("id")): labels[0]
        for region in regions
        if (labels := _labels(region, "rectanglelabels"))
    }
    groups: dict[str, list[Region]] = {}
    for region in regions:
        if is_keypoint(region):
            parent = str(region.get("parentID"))
            groups.setdefault(parent if parent in boxes else "", []).append(region)
    alone = next(iter(boxes.values())) if len(boxes) == 1 else OBJECT
    for parent, points in groups.items():
        size = size_of(points[0], "original_width", "original_height", source)
        named = [
            (_labels(point, "keypointlabels")[0], (*_place(point, size, source), SEEN))
            for point in points
        ]
        yield Exported(
            file_name,
            size,
            boxes.get(parent, alone),
            once(named, source, file_name),
        )


def file_names(task: Mapping[str, Any], source: str) -> list[str]:
    """What the photograph may be called: its path, its name, and that without the upload's mark."""
    data = task.get("data")
    address = data.get("image") if isinstance(data, dict) else None
    if not isinstance(address, str):
        texts = [text for text in data.values() if isinstance(text, str)] if data else []
        if len(texts) != 1:
            raise BadAnnotations(f"{source} has no photograph: no `image` in its `data`")
        address = texts[0]
    url = urlsplit(address)
    query = parse_qs(url.query)
    path = next((query[key][0] for key in ("d", "filepath") if key in query), unquote(url.path))
    name = PurePosixPath(path).name
    return [path.lstrip("/"), name, UPLOADED.sub("", name)]


def _labels(region: Any, kind: str) -> tuple[str, ...]:
    """The labels of a region of that kind."""
    if not isinstance(region, dict) or str(region.get("type")) not in (kind, kind[:-6]):
        return ()
    value = region.get("value")
    labels = value.get(kind) if isinstance(value, dict) else None
    known = labels if isinstance(labels, list) else []
    return tuple(label[:MOST_NAME] for label in known if isinstance(label, str))


def _place(region: Region, size: tuple[int, int], source: str) -> tuple[float, float]:
    """Pixels from the corner."""
    x, y = (finite(region["value"].get(axis), source, "a region") for axis in ("x", "y"))
    return x * size[0] / 100, y * size[1] / 100
