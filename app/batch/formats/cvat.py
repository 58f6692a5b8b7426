"""CVAT for images 1.1: a skeleton where points have names, else a shape for each point."""

import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

from app.batch.formats.files import keeping_old
from app.batch.formats.labelled import (
    Category,
    LabelledCollection,
    LabelledObject,
    LabelledPhotograph,
)

NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_cvat(out: Path, labelled: LabelledCollection) -> None:
    """`cvat.xml`, photograph by photograph: it may be larger than memory.

    See `keeping_old` of what is there.
    """
    named = {category.label: bool(category.names) for category in labelled.categories}
    with keeping_old(out / "cvat.xml") as partial, partial.open("w", encoding="utf-8") as file:
        file.write('<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n')
        file.write("<version>1.1</version>\n")
        file.write(_element_text(_meta(labelled.categories)))
        for photograph in labelled.photographs():
            file.write(_element_text(_image_element(photograph, named)))
        file.write("</annotations>\n")


def _meta(categories: tuple[Category, ...]) -> ET.Element:
    meta = ET.Element("meta")
    labels = ET.SubElement(ET.SubElement(meta, "task"), "labels")
    for category in categories:
        _label(labels, category.label, "skeleton" if category.names else "points")
        for name in category.names:
            _label(labels, name, "points", category.label)
        if category.names:
            svg = "".join(
                f'<line data-type="edge" data-node-from="{a + 1}" data-node-to="{b + 1}"></line>'
                for a, b in category.skeleton
            )
            ET.SubElement(labels[-1 - len(category.names)], "svg").text = svg
    return meta


def _label(labels: ET.Element, name: str, kind: str, parent: str | None = None) -> None:
    label = ET.SubElement(labels, "label")
    ET.SubElement(label, "name").text = name
    ET.SubElement(label, "type").text = kind
    ET.SubElement(label, "attributes")
    if parent is not None:
        ET.SubElement(label, "parent").text = parent


def _image_element(photograph: LabelledPhotograph, named: dict[str, bool]) -> ET.Element:
    image = ET.Element(
        "image",
        id=str(photograph.number - 1),  # counted from 0 there
        name=photograph.file_name,
        width=str(photograph.width),
        height=str(photograph.height),
    )
    for thing in photograph.objects:
        for shape in _skeleton_element(thing) if named[thing.label] else _point_elements(thing):
            image.append(shape)
    return image


def _skeleton_element(thing: LabelledObject) -> Iterator[ET.Element]:
    """Every point exactly once; one that is not visible is `outside`."""
    skeleton = ET.Element("skeleton", label=thing.label, source="auto", z_order="0")
    for point in thing.points:
        ET.SubElement(
            skeleton,
            "points",
            label=point.name,
            source="auto",
            outside=str(int(not point.visible)),
            occluded="0",
            points=f"{point.x:.3f},{point.y:.3f}",
        )
    yield skeleton


def _point_elements(thing: LabelledObject) -> Iterator[ET.Element]:
    for point in thing.points:
        place = f"{point.x:.3f},{point.y:.3f}"
        yield ET.Element(
            "points", label=point.name, source="auto", occluded="0", points=place, z_order="0"
        )


def _element_text(element: ET.Element) -> str:
    for part in element.iter():
        part.text = part.text and NO_XML.sub("\ufffd", part.text)
        part.attrib = {name: NO_XML.sub("\ufffd", value) for name, value in part.attrib.items()}
    return ET.tostring(element, encoding="unicode") + "\n"
