"""Annotations of others, read in our pixels."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from weakpoints.errors import BadOption
from weakpoints.evaluation.fg3dcar import read_fg3dcar
from weakpoints.evaluation.photographs import read, read_coco, sample


def test_coco_is_read_in_our_pixels_with_what_is_visible(annotated: Path) -> None:
    first = read_coco(annotated / "coco.json", annotated)[0]
    assert (first.names, first.group, first.size) == (("left_ear", "right_ear"), "cat", 100)
    assert first.landmarks.tolist() == [[50, 30], [110, 80]]
    assert read_coco(annotated / "coco.json", annotated, "landmarks")[0].box == (44.5, 25.5, 72, 60)


def test_what_is_not_coco_or_not_there_is_said(annotated: Path) -> None:
    (annotated / "broken.json").write_text('{"images": []}')
    (annotated / "empty.json").write_text('{"images": [], "categories": [], "annotations": []}')
    for name, said in (
        ("broken.json", "can't be read"),
        ("empty.json", "no visible"),
        ("absent.json", "can't be read"),
    ):
        with pytest.raises(BadOption, match=said):
            read_coco(annotated / name, annotated)
    with pytest.raises(BadOption, match=r"nowhere\.png"):
        read(annotated / "nowhere.png")
    (annotated / "none").mkdir()
    with pytest.raises(BadOption, match="no photograph"):
        sample(annotated / "none", 3)


def test_fg3dcar_is_read_with_its_boxes_or_by_the_papers_rule(tmp_path: Path) -> None:
    marks = np.array([[11.0, 21], [51, 21], [np.nan, 5], [0, 0], [51, 41]])
    with_box = {
        "filename": "audi\\a.jpg",
        "box": {"x": 1.0, "y": 3.0, "w": 60.0, "h": 50.0},
        "pts2d": marks.T,
    }
    without = {"filename": "b.jpg", "landmarks": np.c_[marks, [1, 0, 1, 1, 1]]}
    hidden = {"filename": "c.jpg", "landmarks": np.c_[marks, np.zeros(5)]}
    file = tmp_path / "ground_truth.mat"
    savemat(file, {"manualParam": np.array([with_box, without, hidden], object)})
    one, two = read_fg3dcar(file, tmp_path)
    assert (one.path, one.group, one.box) == (tmp_path / "audi" / "a.jpg", "audi", (0, 2, 60, 50))
    assert one.landmarks.tolist() == [[10, 20], [50, 20], [50, 40]]
    assert one.names == ("landmark_01", "landmark_02", "landmark_05")
    assert (two.group, two.landmarks.tolist(), two.box) == (
        "car",
        [[10, 20], [50, 40]],
        (6.5, 18.5, 48, 24),
    )
    assert read_fg3dcar(file, tmp_path, "landmarks")[0].box == two.box
    for broken in ({"manualParam": np.array([{"filename": "a.jpg"}], object)}, {"other": 1}):
        savemat(file, broken)
        with pytest.raises(BadOption, match="can't be read"):
            read_fg3dcar(file, tmp_path)


def test_an_annotation_whose_box_has_no_size_is_left_out_and_told(
    annotated: Path, caplog: pytest.LogCaptureFixture
) -> None:
    coco = json.loads((annotated / "coco.json").read_text())
    coco["annotations"][1] |= {"id": 77, "bbox": [5, 5, 0, 0]}
    (annotated / "coco.json").write_text(json.dumps(coco))
    (row,) = read_coco(annotated / "coco.json", annotated)
    assert row.path.name == "a.png"
    assert "1 annotations are left out" in caplog.text
    assert caplog.text.rstrip().endswith("no size: 77")
    coco["annotations"][0] |= {"id": 76, "bbox": [5, 5, 9, 0]}
    (annotated / "coco.json").write_text(json.dumps(coco))
    with pytest.raises(BadOption, match="annotation 76 has 9 x 0 pixels"):
        read_coco(annotated / "coco.json", annotated)
    assert len(read_coco(annotated / "coco.json", annotated, "landmarks")) == 2


@pytest.mark.parametrize("data", [b"no photograph", b"", b"\xff\xd8\xff"])
def test_a_photograph_that_can_not_be_read_is_named(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "broken.jpg"
    path.write_bytes(data)
    with pytest.raises(BadOption, match=r"broken\.jpg"):
        read(path)
