"""CVAT for images 1.1: skeletons, or single points that are called like the landmark."""

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from xml.etree.ElementTree import Element

from weakpoints.errors import BadAnnotations
from weakpoints.landmarks.exports.as_coco import (
    HIDDEN,
    NOT_MARKED,
    OBJECT,
    SEEN,
    CategoryLayout,
    Exported,
    Triple,
    finite,
    once,
)
from weakpoints.landmarks.exports.photographs import Photographs

EDGE = re.compile(r'data-node-from="(\d{1,4})" data-node-to="(\d{1,4})"')
NODE = re.compile(r'data-node-id="(\d{1,4})"[^>]*data-label-name="([^"]*)"')


def read_images(root: Element, source: str, photographs: Photographs) -> list[Exported]:
    """The objects of every image. Raises BadAnnotations."""
    if root.tag != "annotations":
        raise BadAnnotations(f"{source} is not CVAT for images: its element is {root.tag[:40]!r}")
    if root.find("track") is not None:
        raise BadAnnotations(f"{source} is CVAT for video; export it as CVAT for images")
    return [thing for image in root.iter("image") for thing in _objects(image, source, photographs)]


def layouts_of(root: Element) -> dict[str, CategoryLayout]:
    """The skeletons that the file declares, by label."""
    names: dict[str, list[str]] = {}
    drawings: dict[str, str] = {}
    for label in root.iterfind("./meta//label"):
        name, parent = label.findtext("name") or "", label.findtext("parent")
        if parent is not None:
            names.setdefault(parent, []).append(name)
        drawings[name] = label.findtext("svg") or ""
    return {
        label: CategoryLayout(points, _skeleton(drawings.get(label, ""), points))
        for label, points in names.items()
    }


def _skeleton(drawing: str, names: list[str]) -> tuple[tuple[int, int], ...]:
    """Edges of the drawing; its nodes count from 1, and may say which point they are."""
    nodes = {int(number): name for number, name in NODE.findall(drawing)}
    places = {number: names.index(name) for number, name in nodes.items() if name in names}
    places = places or {number: number - 1 for number in range(1, len(names) + 1)}
    edges = [(int(a), int(b)) for a, b in EDGE.findall(drawing)]
    return tuple((places[a], places[b]) for a, b in edges if a in places and b in places)


def _objects(image: Element, source: str, photographs: Photographs) -> Iterator[Exported]:
    path = image.get("name", "")
    name = photographs.resolve([path, PurePosixPath(path).name])
    size = _whole(image.get("width")), _whole(image.get("height"))
    groups: dict[str, list[tuple[str, Triple]]] = {}
    for shape in image:
        if shape.tag == "skeleton":
            named = [(point.get("label", ""), _triple(point, source)) for point in shape]
            yield Exported(name, size, shape.get("label", OBJECT), once(named, source, name))
        if shape.tag == "points":
            group = groups.setdefault(shape.get("group_id", ""), [])
            group.append((shape.get("label", ""), _triple(shape, source)))
    for points in groups.values():
        yield Exported(name, size, OBJECT, once(points, source, name))


def _triple(point: Element, source: str) -> Triple:
    """Raises BadAnnotations for a shape of several points, which have no names of their own."""
    pairs = point.get("points", "").split(";")
    figures = pairs[0].split(",")
    if len(pairs) != 1 or len(figures) != 2:
        raise BadAnnotations(
            f"{source}: a shape {point.get('label', '')[:40]!r} has {len(pairs)} points; a "
            "landmark is one point with a label of its own, or one of a skeleton",
            limit=1,
            actual=len(pairs),
        )
    x, y = (finite(figure, source, "a point") for figure in figures)
    if point.get("outside") == "1":
        return x, y, NOT_MARKED
    return x, y, HIDDEN if point.get("occluded") == "1" else SEEN


def _whole(text: str | None) -> int:
    return int(text) if text and text.isdecimal() and len(text) < 10 else 0
