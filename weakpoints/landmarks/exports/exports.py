"""Which reader: by what the path is, and what is in the file."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from weakpoints.errors import BadAnnotations
from weakpoints.landmarks.annotations import Annotations, one_category, read_annotations
from weakpoints.landmarks.exports import cvat, labelme, labelstudio, yolo_pose
from weakpoints.landmarks.exports.as_coco import CategoryLayout, Exported, as_coco
from weakpoints.landmarks.exports.photographs import Photographs
from weakpoints.landmarks.exports.xml import parse_xml
from weakpoints.options import Limits

DATA = "data.yaml"
SUFFIXES = (".json", ".xml", ".yaml", ".yml")


def is_export(path: Path) -> bool:
    """Whether it may be one, by its name: not a landmark set."""
    return path.suffix in SUFFIXES or path.is_dir()


def read_export(path: Path, images: Path, limits: Limits) -> Annotations:
    """The objects of an export, of one category. Raises BadAnnotations, and OSError.

    path: COCO keypoints, Label Studio's JSON, CVAT's XML, a JSON file of labelme's or a folder of
    them, YOLO-pose's `data.yaml` or its folder. images: the folder of the photographs.
    """
    photographs = Photographs(images, limits)
    if path.is_dir() and (path / DATA).is_file():
        path /= DATA
    if path.is_dir():
        return annotations_of(labelme.read_folder(path, photographs), {}, path.name)
    if path.suffix in (".yaml", ".yml"):
        return annotations_of(*yolo_pose.read_dataset(path, photographs), path.name)
    data = path.read_bytes()
    if path.suffix == ".xml":
        root = parse_xml(data, path.name)
        objects = cvat.read_images(root, path.name, photographs)
        return annotations_of(objects, cvat.layouts_of(root), path.name)
    return _of_json(data, path, photographs)


def annotations_of(
    objects: Sequence[Exported], layouts: Mapping[str, CategoryLayout], source: str
) -> Annotations:
    """Raises BadAnnotations where there is none, or of several categories."""
    if not objects:
        raise BadAnnotations(f"{source} has no object with a marked landmark")
    return one_category(as_coco(objects, layouts), source)


def _of_json(data: bytes, path: Path, photographs: Photographs) -> Annotations:
    """COCO has `annotations`, labelme `shapes`; Label Studio's is a list."""
    source = str(path)
    try:
        document = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise BadAnnotations(f"{source} is not JSON: {error}") from error
    if isinstance(document, list):
        return annotations_of(labelstudio.read_tasks(document, source, photographs), {}, source)
    if isinstance(document, dict) and "shapes" in document:
        return annotations_of([*labelme.objects_of(document, path, photographs)], {}, source)
    return read_annotations(data, source)
