"""What labelling tools export, as they write it, and what is wrong with some of it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.service import encoded
from weakpoints.errors import BadAnnotations
from weakpoints.landmarks.exports.exports import is_export, read_export
from weakpoints.landmarks.exports.labelstudio import file_names
from weakpoints.landmarks.exports.xml import DEEPEST, parse_xml
from weakpoints.options import Limits


def rectangle(label: str = "car", number: str = "b0") -> Any:
    value = {"x": 0, "y": 0, "width": 9, "height": 9, "rotation": 0, "rectanglelabels": [label]}
    return region(number, "rectanglelabels", value)


def point(label: str, x: float, y: float, **more: Any) -> Any:
    value = {"x": x, "y": y, "width": 0.6, "keypointlabels": [label]}
    return region(f"k-{label}-{x}", "keypointlabels", value) | more


def region(number: str, kind: str, value: Any) -> Any:
    size = {"original_width": 100, "original_height": 60, "image_rotation": 0}
    return {"id": number, "from_name": "c", "to_name": "image", "type": kind, "value": value} | size


def task(*regions: Any, image: str = "/data/upload/3/1a2b3c4d-a.png", **annotation: Any) -> Any:
    return {"data": {"image": image}, "annotations": [{"result": list(regions)} | annotation]}


CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version><meta><task><labels>
<label><name>car</name><type>skeleton</type><svg>
 &lt;line x1="1" data-type="edge" data-node-from="2" data-node-to="1"&gt;&lt;/line&gt;
 &lt;circle data-type="element node" data-node-id="1" data-label-name="wheel"&gt;
 &lt;circle data-type="element node" data-node-id="2" data-label-name="lamp"&gt;
</svg></label>
<label><name>lamp</name><type>points</type><parent>car</parent></label>
<label><name>wheel</name><type>points</type><parent>car</parent></label>
</labels></task></meta>
<image id="0" name="photos/a.png" width="100" height="60">
 <skeleton label="car" source="manual" z_order="0">
  <points label="wheel" source="manual" outside="0" occluded="0" points="10.50,20.50"></points>
  <points label="lamp" source="manual" outside="0" occluded="1" points="30.00,40.00"></points>
 </skeleton>
 <skeleton label="car" source="manual" z_order="0">
  <points label="wheel" source="manual" outside="1" occluded="0" points="1.0,1.0"></points>
  <points label="lamp" source="manual" outside="0" occluded="0" points="50.00,40.00"></points>
 </skeleton>
</image></annotations>
"""
LOOSE = """<annotations><image id="0" name="a.png" width="100" height="60">
<points label="wheel" points="10.5,20.5"/><points label="lamp" points="30,40"/>
</image></annotations>
"""
YOLO = "path: .\nkpt_shape: [2, 3]\nnames: [car]\n"


@pytest.fixture
def folder(tmp_path: Path) -> Any:
    (tmp_path / "a.png").write_bytes(encoded(np.zeros((60, 100, 3), np.uint8)))
    (tmp_path / "data" / "labels").mkdir(parents=True)
    return tmp_path


def read(folder: Path, name: str, text: str) -> Any:
    (folder / name).write_text(text if isinstance(text, str) else json.dumps(text))
    return read_export(folder / name, folder, Limits())


def test_label_studio_s_percents_are_pixels_and_the_box_says_what_it_is(folder: Path) -> None:
    known = read(
        folder, "ls.json", [task(rectangle(), point("wheel", 10, 50), point("lamp", 0, 0))]
    )
    assert (known.category, known.names) == ("car", ("wheel", "lamp"))
    (thing,) = known.objects
    assert (thing.file_name, thing.size) == ("a.png", (100, 60))
    np.testing.assert_allclose(thing.places, [[9.5, 29.5], [-0.5, -0.5]])


def test_several_objects_of_label_studio_are_grouped_below_their_boxes(folder: Path) -> None:
    regions = [rectangle(number="b0"), rectangle(number="b1")]
    regions += [point("wheel", 10, 10, parentID="b0"), point("wheel", 20, 20, parentID="b1")]
    known = read(folder, "ls.json", [task(*regions), task(), {"data": {}}, 7])
    assert [thing.places[0].tolist() for thing in known.objects] == [[9.5, 5.5], [19.5, 11.5]]


def test_names_of_groups_may_be_anything(folder: Path) -> None:
    regions = [rectangle(number=["b"]), point("wheel", 10, 10, parentID=["b"])]
    assert read(folder, "ls.json", [task(*regions)]).category == "car"
    shapes = [shape("car", 0, 0, [1], "rectangle"), shape("wheel", 10, 20, [1])]
    assert read(folder, "a.json", labelme(*shapes)).category == "car"


def test_the_last_annotation_counts_and_none_that_was_skipped(folder: Path) -> None:
    annotated = task(point("wheel", 10, 10))
    annotated["annotations"] += [{"result": [point("wheel", 30, 10)]}, {"result": []}]
    annotated["annotations"] += [{"result": [point("wheel", 90, 10)], "was_cancelled": True}]
    known = read(folder, "ls.json", [annotated])
    assert (known.category, known.objects[0].places[0, 0]) == ("object", 29.5)


@pytest.mark.parametrize(
    ("address", "last"),
    [
        ("/data/upload/3/1a2b3c4d-a.png", "a.png"),
        ("/data/local-files/?d=photos/a%20b.png", "a b.png"),
        ("/storage-data/uploaded/?filepath=upload/3/1a2b3c4d-c.png", "c.png"),
        ("s3://bucket/x/d.png", "d.png"),
        ("https://x.example/e%20f.png?x=1", "e f.png"),
    ],
)
def test_every_address_of_label_studio_has_a_file_name(address: str, last: str) -> None:
    assert file_names({"data": {"image": address}}, "task")[-1] == last
    assert file_names({"data": {"photo": address}}, "task")[-1] == last


def test_cvat_s_skeletons_have_order_edges_and_visibility(folder: Path) -> None:
    known = read(folder, "cvat.xml", CVAT)
    assert (known.category, known.names, known.skeleton) == ("car", ("lamp", "wheel"), ((0, 1),))
    assert [thing.marked.tolist() for thing in known.objects] == [[False, True], [True, False]]
    np.testing.assert_allclose(known.objects[0].places[1], [10, 20])
    assert known.objects[0].file_name == "a.png"


def test_single_points_of_cvat_are_landmarks_by_their_label(folder: Path) -> None:
    known = read(folder, "cvat.xml", LOOSE)
    assert (known.category, known.names) == ("object", ("wheel", "lamp"))
    np.testing.assert_allclose(known.objects[0].places, [[10, 20], [29.5, 39.5]])


def test_yolo_pose_with_and_without_visibility_and_names(folder: Path) -> None:
    (folder / "data" / "labels" / "a.txt").write_text("0 .5 .5 1 1 .1 .5 2 .2 .5 1\n\n")
    known = read(folder, "data/data.yaml", YOLO)
    assert (known.category, known.names) == ("car", ("point_1", "point_2"))
    assert known.objects[0].marked.tolist() == [True, False]
    np.testing.assert_allclose(known.objects[0].places[0], [9.5, 29.5])
    (folder / "data" / "labels" / "a.txt").write_text("0 .5 .5 1 1 .1 .5 0 0\n")
    (folder / "data" / "labels" / "b.txt").write_text("")
    more = "names: {0: car}\nkpt_names: {0: [w, l]}\nskeleton: [[0, 1], [0, 7], 3]\n"
    known = read(folder, "data/data.yaml", f"kpt_shape: [2, 2]\n{more}")
    assert (known.names, known.skeleton) == (("w", "l"), ((0, 1),))
    assert known.objects[0].marked.tolist() == [True, False]


def labelme(*shapes: Any, **more: Any) -> Any:
    about = {"imagePath": "a.png", "imageWidth": 100, "imageHeight": 60, "shapes": list(shapes)}
    return about | more


def shape(label: str, x: float, y: float, group: Any = None, kind: str = "point") -> Any:
    return {"label": label, "points": [[x, y]], "group_id": group, "shape_type": kind}


def test_labelme_groups_points_below_a_rectangle(folder: Path) -> None:
    shapes = [
        shape("car", 0, 0, 1, "rectangle"),
        shape("wheel", 10, 20, 1),
        shape("x", 1, 1, 2, "line"),
    ]
    known = read(folder, "a.json", labelme(*shapes))
    assert (known.category, known.names) == ("car", ("wheel",))
    np.testing.assert_allclose(known.objects[0].places, [[9.5, 19.5]])
    (folder / "other.json").write_text("[]")
    assert read_export(folder, folder, Limits()).names == ("wheel",)


def test_what_is_an_export_is_told_by_its_name(folder: Path) -> None:
    assert is_export(folder)
    assert is_export(Path("a.xml"))
    assert not is_export(Path("car.landmarks"))


DEEP = "<annotations>" + "<a>" * DEEPEST + "</a>" * DEEPEST + "</annotations>"
ENTITY = '<!DOCTYPE x [<!ENTITY a "b">]><annotations>&a;</annotations>'
OUTSIDE = '<!DOCTYPE x SYSTEM "file:///etc/passwd"><annotations/>'
MANY = LOOSE.replace("10.5,20.5", "1,2;3,4")
WRONG = {
    "no JSON": ("x.json", "{", "is not JSON"),
    "no annotation": ("x.json", [task()], "no object with a marked landmark"),
    "no size": ("x.json", [task(point("a", 1, 1, original_width=0))], "original_width"),
    "a size of none": ("x.json", [task(point("a", 1, 1, original_width=10**400))], "in pixels"),
    "a place of none": ("x.json", [task(point("a", 10**400, 1))], "where a number belongs"),
    "a crowd of points": ("data/data.yaml", "names: [a]\nkpt_shape: [999999999, 3]", "at most 256"),
    "names of none": ("data/data.yaml", "names: 3\nkpt_shape: [2, 3]", "no `names`"),
    "labelme of nothing": ("x.json", labelme(imagePath=""), "imagePath"),
    "no number": ("x.json", [task(point("a", None, 1))], "'None' where a number belongs"),
    "a text": ("x.json", [task(point("a", "one", 1))], "'one' where a number belongs"),
    "not finite": ("x.json", [task(point("a", float("nan"), 1))], "where a number belongs"),
    "twice": ("x.json", [task(point("a", 1, 1), point("a", 2, 2))], "two landmarks called 'a'"),
    "no photograph": ("x.json", [task(point("a", 1, 1), image=None)], "no photograph"),
    "outside": ("x.json", [task(point("a", 150, 1))], "outside of 100 x 60"),
    "no XML": ("x.xml", "<annotations>", "is not XML"),
    "other XML": ("x.xml", "<a/>", "is not CVAT for images"),
    "a video": ("x.xml", "<annotations><track/></annotations>", "CVAT for video"),
    "entities": ("x.xml", ENTITY, "DOCTYPE"),
    "a file of the machine": ("x.xml", OUTSIDE, "DOCTYPE"),
    "too deep": ("x.xml", DEEP, f"more than {DEEPEST} deep"),
    "points of one shape": ("x.xml", MANY, "has 2 points"),
    "labelme without a size": ("x.json", labelme(imageWidth=None), "imageWidth"),
    "labelme without shapes": ("x.json", labelme(shapes=3), "no list"),
    "labelme's point of none": (
        "x.json",
        labelme(shape("a", 1, 1) | {"points": []}),
        "no `points`",
    ),
    "labelme in space": ("x.json", labelme(shape("a", 1, 1) | {"points": [[1, 2, 3]]}), "has 3"),
    "no YAML": ("data/data.yaml", "a: [", "is not YAML"),
    "a list": ("data/data.yaml", "[]", "no mapping"),
    "no shape": ("data/data.yaml", "names: [car]", "kpt_shape"),
    "too long": ("data/data.yaml", "#" * 1_000_001, "at most 1000000"),
    "a folder of nothing": ("data/x", "", "no object with a marked landmark"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_wrong_is_named(folder: Path, kind: str) -> None:
    name, text, message = WRONG[kind]
    (folder / name).write_text(text if isinstance(text, str) else json.dumps(text))
    path = folder / name if text else folder / "data"
    with pytest.raises(BadAnnotations, match=message):
        read_export(path, folder, Limits())


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("9 .5 .5 1 1 .1 .5 2 .2 .5 1", "class '9'"),
        ("car .5 .5 1 1 .1 .5 2 .2 .5 1", "class 'car'"),
        ("0 .5 .5 1 1 .1 .5 2", "3 figures of points; 2 points of 3"),
        ("0 .5 .5 1 1 x .5 2 .2 .5 1", "'x' where a number"),
    ],
)
def test_a_line_of_yolo_that_is_wrong_is_named(folder: Path, line: str, message: str) -> None:
    (folder / "data" / "labels" / "a.txt").write_text(line)
    with pytest.raises(BadAnnotations, match=message):
        read(folder, "data/data.yaml", YOLO)


def test_photographs_that_are_not_there_or_not_readable_are_named(folder: Path) -> None:
    (folder / "data" / "labels" / "b.txt").write_text("0 .5 .5 1 1 .1 .5 2 .2 .5 1")
    with pytest.raises(BadAnnotations, match=r"b\.txt is of 'b'.*no photograph of that name"):
        read(folder, "data/data.yaml", YOLO)
    (folder / "b.png").write_bytes(b"GIF89a")
    with pytest.raises(BadAnnotations, match=r"b\.txt is of 'b\.png': "):
        read(folder, "data/data.yaml", YOLO)


def test_an_encoding_that_is_unknown_is_no_xml() -> None:
    with pytest.raises(BadAnnotations, match="is not XML"):
        parse_xml(b'<?xml version="1.0" encoding="klingon"?><a/>', "x")
