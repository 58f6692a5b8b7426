"""What a batch writes for labelling tools: point by point what was found, half a pixel included."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from pycocotools.coco import COCO

from app.batch.collection import open_collection
from app.batch.formats.files import keeping_old, stem_below, way_to, write_label_file
from app.batch.formats.formats import check_formats, formats_of, write_formats
from app.batch.formats.labelled import distinct, labelled_collection
from app.batch.records import ResultRow
from app.batch.run import plain, run_batch
from app.cli import main as cli
from app.schemas.answers import WireKeypoint
from app.schemas.landmarks import WireLandmark
from tests.landmarks.conftest import NAMES, PLACES, coco, scene
from tests.service import encoded
from weakpoints.errors import BadOption
from weakpoints.landmarks.annotations import read_annotations
from weakpoints.landmarks.describer import Describer
from weakpoints.landmarks.exports.exports import read_export
from weakpoints.landmarks.landmark_set import LandmarkSet
from weakpoints.landmarks.learning import learn
from weakpoints.method.detector import Detector
from weakpoints.options import Limits, choose

COVARIANCE = ((1.0, 0.0), (0.0, 1.0))
PLACED = np.array([[10.25, 20.0], [0.0, 0.0], [99.5, 59.5]])
CATEGORY: dict[str, Any] = {
    "id": 1,
    "name": "beast",
    "keypoints": ["nose", "ear", "tail"],
    "skeleton": [[1, 3]],
}


def landmark(name: str, place: np.ndarray, visible: bool = True) -> WireLandmark:
    x, y = (float(figure) for figure in place)
    return WireLandmark(
        name=name, x=x, y=y, confidence=0.75, visible=visible, covariance=COVARIANCE
    )


def named_row(name: str = "deep/a b.png", hidden: str = "") -> ResultRow:
    points = [
        landmark(point, place, point != hidden)
        for point, place in zip(CATEGORY["keypoints"], PLACED, strict=True)
    ]
    about = {"class_id": 2, "label": "cat", "probability": 0.5}
    return ResultRow(file_name=name, width=100, height=60, landmarks=points, **about)


def unnamed_row(name: str = "a.png") -> ResultRow:
    figures = {"confidence": 0.5, "log_likelihood": -0.7, "coarse": 1, "fine": 1}
    points = [
        WireKeypoint(x=x, y=y, refined=False, target=target, covariance=None, **figures)
        for x, y, target in [(3, 4, 0), (7.5, 8.25, 0), (50, 40, 1)]
    ]
    about = {"class_id": 0, "label": "cat", "probability": 0.5}
    return ResultRow(file_name=name, width=100, height=60, keypoints=points, **about)


def write(out: Path, rows: list[ResultRow], *formats: Any, named: bool = True) -> None:
    def again() -> Iterator[ResultRow]:
        return iter(rows)

    categories = [CATEGORY] if named else None
    folder = str(out / "photos")
    labelled = labelled_collection(again, {}, ["cat", "dog"], categories, folder, "v1")
    write_formats(out, formats, labelled)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    (tmp_path / "photos" / "deep").mkdir(parents=True)
    (tmp_path / "photos" / "deep" / "a b.png").write_bytes(encoded(np.zeros((60, 100, 3), "u1")))
    return tmp_path / "photos"


WAYS = {
    "yolo-pose": "yolo-pose",
    "labelme": "labelme",
    "cvat": "cvat.xml",
}


@pytest.mark.parametrize("hidden", ["", "ear"])
@pytest.mark.parametrize("name", WAYS)
def test_what_is_written_is_learnt_from_again(
    photos: Path, tmp_path: Path, name: str, hidden: str
) -> None:
    write(tmp_path, [named_row(hidden=hidden)], name)
    known = read_export(tmp_path / WAYS[name], photos, Limits())
    (thing,) = known.objects
    names = [point for point in CATEGORY["keypoints"] if name != "labelme" or point != hidden]
    assert (known.category, list(known.names)) == ("beast", names)
    assert thing.marked.tolist() == [point != hidden for point in names]
    assert (thing.file_name, thing.size) == ("deep/a b.png", (100, 60))
    expected = PLACED[[CATEGORY["keypoints"].index(point) for point in names]]
    np.testing.assert_allclose(thing.places[thing.marked], expected[thing.marked], atol=1e-5)
    if name != "labelme":  # which has no skeleton of its own
        assert known.skeleton == ((0, 2),)


def test_yolo_pose_is_as_ultralytics_documents_it(tmp_path: Path) -> None:
    write(tmp_path, [named_row(hidden="ear"), named_row("b.png")], "yolo-pose")
    lines = (tmp_path / "yolo-pose" / "labels" / "deep" / "a b.txt").read_text().splitlines()
    figures = [float(figure) for figure in lines[0].split()]
    assert len(figures) == 5 + 3 * 3
    assert figures[0] == 0
    assert all(0 <= figure <= 1 for figure in figures[1:5])
    assert figures[5:] == pytest.approx([10.75 / 100, 20.5 / 60, 2, 0, 0, 0, 1.0, 1.0, 2], abs=1e-7)
    x, y, w, h = np.array(figures[1:5]) * [100, 60, 100, 60]
    assert (x - w / 2, y - h / 2) == pytest.approx((10.75, 20.5), abs=1e-5)
    assert (x + w / 2, y + h / 2) == pytest.approx((100, 60), abs=1e-5)


def test_one_visible_point_has_a_box_of_a_pixel(tmp_path: Path) -> None:
    row = named_row()
    points = [point.model_copy(update={"visible": point.name == "ear"}) for point in row.landmarks]
    none = [point.model_copy(update={"visible": False}) for point in row.landmarks]
    rows = [row.model_copy(update={"landmarks": points})]
    rows += [row.model_copy(update={"file_name": "none.png", "landmarks": none})]
    write(tmp_path, rows, "yolo-pose")
    folder = tmp_path / "yolo-pose" / "labels"
    figures = [float(figure) for figure in (folder / "deep/a b.txt").read_text().split()]
    assert figures[1:5] == pytest.approx([0.005, 0.5 / 60, 0.01, 1 / 60], abs=1e-7)
    assert (folder / "none.txt").read_text() == ""


def test_label_studio_has_percents_from_the_corner_grouped_below_the_box(tmp_path: Path) -> None:
    write(tmp_path, [named_row(hidden="ear"), named_row("https://x.example/b.png")], "labelstudio")
    tasks = json.loads((tmp_path / "labelstudio.json").read_text())
    assert [task["data"]["image"] for task in tasks] == [
        "/data/local-files/?d=deep/a%20b.png",
        "https://x.example/b.png",
    ]
    (prediction,) = tasks[0]["predictions"]
    assert prediction["model_version"] == "v1"
    box, *points = prediction["result"]
    assert box["value"] | {"rotation": 0} == box["value"]
    assert (box["type"], box["value"]["rectanglelabels"]) == ("rectanglelabels", ["beast"])
    assert [point["value"]["keypointlabels"] for point in points] == [["nose"], ["tail"]]
    assert {point["parentID"] for point in points} == {box["id"]}
    assert (points[0]["value"]["x"], points[0]["value"]["y"]) == pytest.approx(
        (10.75, 100 * 20.5 / 60), abs=1e-6
    )
    controls = ET.fromstring((tmp_path / "labelstudio.xml").read_text())
    labels = [label.get("value") for label in controls.iter("Label")]
    assert labels == ["nose", "ear", "tail", "beast"]
    assert {point["from_name"] for point in points} == {controls[1].get("name")}


def test_predictions_that_were_accepted_are_learnt_from(photos: Path, tmp_path: Path) -> None:
    """Label Studio exports them as annotations of the same form."""
    write(tmp_path, [named_row()], "labelstudio")
    (task,) = json.loads((tmp_path / "labelstudio.json").read_text())
    task["annotations"] = [{"result": task.pop("predictions")[0]["result"]}]
    (tmp_path / "export.json").write_text(json.dumps([task]))
    known = read_export(tmp_path / "export.json", photos, Limits())
    assert (known.category, known.objects[0].file_name) == ("beast", "deep/a b.png")
    np.testing.assert_allclose(known.objects[0].places, PLACED, atol=1e-5)


def test_cvat_has_each_point_of_a_skeleton_once_and_the_unseen_outside(tmp_path: Path) -> None:
    write(tmp_path, [named_row(hidden="ear")], "cvat")
    root = ET.parse(tmp_path / "cvat.xml").getroot()
    (skeleton,) = root.iter("skeleton")
    assert [point.get("label") for point in skeleton] == CATEGORY["keypoints"]
    assert [point.get("outside") for point in skeleton] == ["0", "1", "0"]
    assert skeleton[0].get("points") == "10.750,20.500"
    assert root.findtext("version") == "1.1"


def test_points_without_names_are_called_like_their_class(tmp_path: Path) -> None:
    write(tmp_path, [unnamed_row()], "labelstudio", "labelme", "cvat", named=False)
    root = ET.parse(tmp_path / "cvat.xml").getroot()
    shapes = [(shape.get("label"), shape.get("points")) for shape in root.iter("points")]
    assert shapes == [("cat", "3.500,4.500"), ("cat", "8.000,8.750"), ("dog", "50.500,40.500")]
    document = json.loads((tmp_path / "labelme" / "a.json").read_text())
    assert document["imagePath"] == "../photos/a.png"
    found = [
        (shape["label"], shape["shape_type"], shape["group_id"]) for shape in document["shapes"]
    ]
    assert found == [
        ("cat", "rectangle", 0),
        ("cat", "point", 0),
        ("cat", "point", 0),
        ("dog", "rectangle", 1),
        ("dog", "point", 1),
    ]
    (task,) = json.loads((tmp_path / "labelstudio.json").read_text())
    result = task["predictions"][0]["result"]
    assert [region["type"] for region in result].count("keypointlabels") == 3


def test_names_that_are_no_xml_are_written_all_the_same(tmp_path: Path) -> None:
    write(tmp_path, [named_row('a\x01<&".png')], "cvat")
    root = ET.parse(tmp_path / "cvat.xml").getroot()
    assert [image.get("name") for image in root.iter("image")] == ['a\ufffd<&".png']


def test_a_label_that_occurs_twice_has_its_number() -> None:
    assert distinct(["crane", "ant", "crane"]) == ["crane 0", "ant", "crane 2"]


def test_files_stay_below_their_folder() -> None:
    assert [
        str(stem_below(name)) for name in ("../../a.png", "/etc/b.png", "s3://x/y/c.d.png")
    ] == [
        "a",
        "etc/b",
        "y/c.d",
    ]
    assert way_to("b/a.png", None, Path("/out")) == "a.png"
    assert way_to("b/a.png", "/photos", Path("/out/labelme/b")) == "../../../photos/b/a.png"


def test_what_a_format_cannot_hold_is_said_before_anything_is_computed(tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg"):
        (tmp_path / name).write_bytes(b"")
    collection = open_collection(str(tmp_path))
    with pytest.raises(BadOption, match="names alone"):
        check_formats(("yolo-pose",), collection, named=False)
    for name in ("yolo-pose", "labelme"):
        with pytest.raises(BadOption, match=r"'a\.jpg' and 'a\.png' would have the same"):
            check_formats((name,), collection, named=True)
    check_formats(("coco", "cvat", "labelstudio"), collection, named=False)
    assert formats_of("cvat, coco") == ("coco", "cvat")
    with pytest.raises(BadOption, match="'pascal'; there are coco, yolo-pose"):
        formats_of("coco,pascal")


def test_a_batch_writes_every_format_of_named_points(
    tmp_path: Path, detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.loading.loaded", lambda *args: detector)
    marked = read_annotations(json.dumps(coco({"a.png": PLACES})), "beast.json")
    learnt = learn(Describer(detector), marked, lambda name: scene(), choose())
    learnt.save(tmp_path / "beast.landmarks")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "0.png").write_bytes(encoded(scene((2, 1))))
    command = ["batch", str(tmp_path / "photos"), "--out", str(tmp_path / "out")]
    command += ["--landmarks", str(tmp_path / "beast.landmarks"), "--format"]
    every = "coco,yolo-pose,labelstudio,labelme,cvat"
    assert cli.main([*command, every]) == 0
    known = COCO(str(tmp_path / "out" / "keypoints.coco.json"))
    truth = np.reshape(known.loadAnns([1])[0]["keypoints"], (-1, 3))
    seen = truth[:, 2] == 2
    for path in ("yolo-pose", "labelme", "cvat.xml"):
        read = read_export(tmp_path / "out" / path, tmp_path / "photos", Limits())
        (thing,) = read.objects
        places = thing.places[
            [list(read.names).index(n) for n, s in zip(NAMES, seen, strict=True) if s]
        ]
        np.testing.assert_allclose(places + 0.5, truth[seen, :2], atol=1e-4)
    assert cli.main([*command, "pascal"]) == 2
    assert isinstance(learnt, LandmarkSet)


def test_without_coco_none_is_written_and_nothing_is_written_over(
    tmp_path: Path, detector: Detector
) -> None:
    (tmp_path / "0.png").write_bytes(encoded(scene()))
    collection, options = open_collection(str(tmp_path)), choose(patch=14, stride=14)

    def run(out: Path) -> None:
        run_batch(
            plain(detector, collection.reader, options, Limits()),
            detector.model,
            options,
            collection,
            out,
            resume=False,
            progress=lambda lines, total: lines,
            formats=("cvat",),
        )

    run(tmp_path / "out")
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {"cvat.xml", "keypoints.parquet", "rows.jsonl"}
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "cvat.xml").write_text("mine")
    with pytest.raises(BadOption, match="no run of this command made it"):
        run(tmp_path / "other")


def test_a_label_file_that_was_corrected_by_hand_is_kept_beside_the_new_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "deep" / "a.json"
    for text in ("ours", "ours"):
        write_label_file(path, text)
    assert [file.name for file in path.parent.iterdir()] == ["a.json"]
    for number, name in ((1, "a.json.old"), (2, "a.json.old2")):
        path.write_text(f"corrected {number}")
        write_label_file(path, "ours")
        assert path.read_text() == "ours"
        assert (path.parent / name).read_text() == f"corrected {number}"
        assert f"it is kept as {name}" in caplog.text


def test_a_collection_s_file_that_was_corrected_by_hand_is_kept_too(tmp_path: Path) -> None:
    path = tmp_path / "labelstudio.json"
    for text in ("ours", "ours", "ours, and more"):
        with keeping_old(path) as partial:
            partial.write_text(text)
    assert path.read_text() == "ours, and more"
    assert (tmp_path / "labelstudio.json.old").read_text() == "ours"
    assert len(list(tmp_path.iterdir())) == 2


def test_a_label_file_has_its_photograph_s_name_in_any_locale(tmp_path: Path) -> None:
    script = (
        "from pathlib import Path; from app.batch.formats.files import write_label_file; "
        "write_label_file(Path('\\u00fc.json'), 'ours')"
    )
    environment = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, check=True)
    assert [file.name for file in tmp_path.iterdir()] == ["\u00fc.json"]
