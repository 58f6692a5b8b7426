"""labelme: a JSON file for each photograph; the points of an object share its `group_id`."""

import json
from pathlib import Path
from typing import Any

from app.batch.formats.files import stem_below, way_to, write_label_file
from app.batch.formats.labelled import LabelledCollection, LabelledObject
from weakpoints import __version__

LABELME = "5.5.0"  # the version whose form this is


def write_labelme(out: Path, labelled: LabelledCollection) -> None:
    """`labelme/NAME.json`; `imagePath` leads from there to the photograph."""
    skeletons = {category.label: category for category in labelled.categories}
    for photograph in labelled.photographs():
        path = out / "labelme" / f"{stem_below(photograph.file_name)}.json"
        joined = {
            thing.label: [
                [skeletons[thing.label].names[end] for end in pair]
                for pair in skeletons[thing.label].skeleton
            ]
            for thing in photograph.objects
            if skeletons[thing.label].skeleton
        }
        document = {
            "version": LABELME,
            "flags": {},
            "shapes": [
                shape
                for group, thing in enumerate(photograph.objects)
                for shape in _labelme_shapes(group, thing)
            ],
            "imagePath": way_to(photograph.file_name, labelled.folder, path.parent),
            "imageData": None,
            "imageHeight": photograph.height,
            "imageWidth": photograph.width,
            "weakpoints": {"version": __version__, "skeletons": joined},
        }
        write_label_file(path, json.dumps(document, indent=2) + "\n")


def _labelme_shapes(group: int, thing: LabelledObject) -> list[dict[str, Any]]:
    """The box, which says what the object is, and its visible points."""
    shapes = []
    if thing.box:
        x, y, w, h = thing.box
        corners = [[x, y], [round(x + w, 3), round(y + h, 3)]]
        shapes = [_labelme_shape(thing.label, corners, group, "rectangle", thing.score)]
    return shapes + [
        _labelme_shape(point.name, [[point.x, point.y]], group, "point", point.confidence)
        for point in thing.visible
    ]


def _labelme_shape(
    label: str, points: list[list[float]], group: int, kind: str, score: float | None
) -> dict[str, Any]:
    return {
        "label": label,
        "points": points,
        "group_id": group,
        "description": "" if score is None else f"{score:.3f}",
        "shape_type": kind,
        "flags": {},
        "mask": None,
    }
