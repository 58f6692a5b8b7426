"""Does each tool's own reader find what `weakpoints batch --landmarks --format ...` wrote?

    python integrations/check_files.py TOOL OUT

TOOL is coco (needs pycocotools), labelstudio (label-studio-sdk), labelme (labelme) or cvat
(fiftyone). Points are compared one by one with OUT/rows.jsonl, half a pixel included.
"""

import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path

HALF = 0.5
Places = dict[str, tuple[float, float]]


def main() -> None:
    tool, out = sys.argv[1:]
    readers = {
        "coco": coco,
        "labelstudio": labelstudio,
        "labelme": labelme,
        "cvat": cvat,
    }
    expected, furthest, count = dict(rows(Path(out))), 0.0, 0
    found = dict(readers[tool](Path(out)))
    assert {Path(name).stem for name in found} == {Path(name).stem for name in expected}
    for name, places in found.items():
        known = next(v for k, v in expected.items() if Path(k).stem == Path(name).stem)
        assert set(places) == set(known), (name, set(places) ^ set(known))
        for point, place in places.items():
            furthest, count = max(furthest, math.dist(place, known[point])), count + 1
    assert furthest < (0.71 if tool == "cvat" else 0.002), furthest  # FiftyOne's rounds to pixels
    print(json.dumps({tool: {"photographs": len(found), "points": count, "furthest": furthest}}))


def rows(out: Path) -> Iterator[tuple[str, Places]]:
    """The visible landmarks of each photograph, from the corner."""
    for line in (out / "rows.jsonl").read_text().splitlines()[1:]:
        row = json.loads(line)
        points = [point for point in row.get("landmarks", []) if point["visible"]]
        yield row["file_name"], {p["name"]: (p["x"] + HALF, p["y"] + HALF) for p in points}


def coco(out: Path) -> Iterator[tuple[str, Places]]:
    from pycocotools.coco import COCO

    known = COCO(str(out / "keypoints.coco.json"))
    for image in known.loadImgs(known.getImgIds()):
        (annotation,) = known.loadAnns(known.getAnnIds(imgIds=[image["id"]]))
        names = known.loadCats([annotation["category_id"]])[0]["keypoints"]
        figures = iter(annotation["keypoints"])
        triples = zip(names, zip(figures, figures, figures, strict=True), strict=True)
        yield image["file_name"], {name: (x, y) for name, (x, y, v) in triples if v == 2}


def labelstudio(out: Path) -> Iterator[tuple[str, Places]]:
    """Its `LabelInterface` holds every prediction to the configuration."""
    from label_studio_sdk.label_interface import LabelInterface

    interface = LabelInterface((out / "labelstudio.xml").read_text())
    interface.validate()
    for task in json.loads((out / "labelstudio.json").read_text()):
        (prediction,) = task["predictions"]
        wrong = interface.validate_prediction(prediction, return_errors=True)
        assert not wrong, wrong
        places: Places = {}
        for region in prediction["result"]:
            if region["type"] == "keypointlabels":
                value, (name,) = region["value"], region["value"]["keypointlabels"]
                width, height = region["original_width"], region["original_height"]
                places[name] = value["x"] * width / 100, value["y"] * height / 100
        yield task["data"]["image"].rpartition("=")[2], places


def labelme(out: Path) -> Iterator[tuple[str, Places]]:
    """labelme opens the photograph that a file leads to, too."""
    from labelme import LabelFile

    for path in sorted((out / "labelme").rglob("*.json")):
        file = LabelFile(str(path))
        assert file.imageData
        shapes = [shape for shape in file.shapes if shape["shape_type"] == "point"]
        yield path.name, {shape["label"]: tuple(shape["points"][0]) for shape in shapes}


def cvat(out: Path) -> Iterator[tuple[str, Places]]:
    """Each point by FiftyOne's reader of CVAT's files; skeletons it has no place for."""
    from xml.etree import ElementTree

    from fiftyone.utils.cvat import CVATImagePoints

    for image in ElementTree.parse(out / "cvat.xml").iter("image"):
        places: Places = {}
        for point in image.iterfind("skeleton/points"):
            if point.get("outside") == "0":
                fields = {f"@{name}": value for name, value in point.items()}
                read = CVATImagePoints.from_points_dict(fields)
                places[read.label] = read.points[0]
        yield str(image.get("name")), places


if __name__ == "__main__":
    main()
