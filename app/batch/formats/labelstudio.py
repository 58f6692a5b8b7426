"""Label Studio: tasks with predictions to import, and the labelling configuration they fit."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree as ET

from app.batch.formats.files import keeping_old
from app.batch.formats.labelled import (
    LabelledCollection,
    LabelledObject,
    LabelledPhotograph,
)
from app.schemas.labelstudio import Picture, keypoint_region, rectangle_region

IMAGE, POINTS, BOX = "image", "keypoints", "box"
LOCAL = "/data/local-files/?d="  # below LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT


def write_labelstudio(out: Path, labelled: LabelledCollection) -> None:
    """`labelstudio.json` and `labelstudio.xml`; see `keeping_old` of what is there."""
    with keeping_old(out / "labelstudio.json") as partial, partial.open("w") as file:
        file.write("[")
        for number, photograph in enumerate(labelled.photographs()):
            file.write(("\n" if number == 0 else ",\n") + json.dumps(_task(photograph, labelled)))
        file.write("\n]\n")
    with keeping_old(out / "labelstudio.xml") as partial:
        partial.write_text(configuration(labelled), encoding="utf-8")


def configuration(labelled: LabelledCollection) -> str:
    """The labels of all points and boxes."""
    view = ET.Element("View")
    ET.SubElement(view, "Image", name=IMAGE, value="$image")
    points = ET.SubElement(view, "KeyPointLabels", name=POINTS, toName=IMAGE)
    boxes = ET.SubElement(view, "RectangleLabels", name=BOX, toName=IMAGE)
    names = [
        name for category in labelled.categories for name in category.names or (category.label,)
    ]
    for name in dict.fromkeys(names):
        ET.SubElement(points, "Label", value=name)
    for category in labelled.categories:
        ET.SubElement(boxes, "Label", value=category.label)
    ET.indent(view)
    return ET.tostring(view, encoding="unicode") + "\n"


def _task(photograph: LabelledPhotograph, labelled: LabelledCollection) -> dict[str, Any]:
    name = photograph.file_name
    picture = Picture(IMAGE, photograph.width, photograph.height)
    regions = [
        region
        for number, thing in enumerate(photograph.objects)
        for region in _regions(f"o{number}", thing, picture)
    ]
    scores = [thing.score for thing in photograph.objects if thing.score is not None]
    prediction = {
        "model_version": labelled.version,
        "score": round(max(scores, default=0.0), 6),
        "result": regions,
    }
    image = name if "://" in name else LOCAL + quote(name)
    return {"data": {"image": image}, "predictions": [prediction]}


def _regions(number: str, thing: LabelledObject, picture: Picture) -> list[dict[str, Any]]:
    """The box first: points are grouped below it."""
    regions = []
    if thing.box:
        regions = [rectangle_region(number, BOX, picture, thing.box, thing.label, thing.score)]
    return regions + [
        keypoint_region(
            f"{number}p{i}",
            POINTS,
            picture,
            (point.x, point.y),
            point.name,
            point.confidence,
            number,
        )
        for i, point in enumerate(thing.points)
        if point.visible
    ]
