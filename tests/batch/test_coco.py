"""What is written as COCO keypoints, read by all that read them."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from app.batch.coco import coco_annotation, coco_category
from app.batch.collection import open_collection
from app.batch.records import found_row
from app.batch.run import plain, run_batch
from app.batch.tables import write_coco
from app.schemas.answers import WireKeypoint
from tests.service import encoded
from tests.toys import LABELS
from weakpoints.coco import visible_points
from weakpoints.evaluation.photographs import apart, read_coco
from weakpoints.method.detector import Detector
from weakpoints.options import Limits, choose

OPTIONS = choose(patch=14, stride=14)


def point(x: float, y: float, target: int = 0) -> WireKeypoint:
    figures = {"confidence": 0.5, "log_likelihood": -0.7, "coarse": 1, "fine": 1}
    return WireKeypoint(x=x, y=y, refined=False, target=target, covariance=None, **figures)


def test_the_origin_is_the_picture_s_corner_and_the_rest_is_not_labelled() -> None:
    annotation = coco_annotation(7, 3, 1, [point(0, 0), point(12.3456, 4)], 3)
    assert annotation["keypoints"] == [0.5, 0.5, 2, 12.846, 4.5, 2, 0, 0, 0]
    assert (annotation["num_keypoints"], annotation["category_id"]) == (2, 2)
    assert annotation["bbox"] == [0.5, 0.5, 12.346, 4]
    assert annotation["area"] == 49.384
    assert annotation["confidences"] == [0.5, 0.5]
    assert annotation["drops"] == [None, None], "rows of an older version have none"
    empty = coco_annotation(1, 1, 0, [], 2)
    assert (empty["keypoints"], empty["bbox"]) == ([0] * 6, [0, 0, 0, 0])


def test_what_is_written_is_read_back() -> None:
    points = [point(3.25, 4.5), point(100, 0.125)]
    places, names = visible_points(coco_annotation(1, 1, 0, points, 5), coco_category(0, "ant", 5))
    np.testing.assert_allclose(places, [[3.25, 4.5], [100, 0.125]])
    assert names == ("point_1", "point_2")
    assert visible_points({"keypoints": [1, 1, 0, 2, 2, 1]}, {})[1] == ("point_2",)


@pytest.fixture
def written(detector: Detector, photograph: np.ndarray, tmp_path: Path) -> Path:
    """What a batch wrote of two folders with photographs of the same name."""
    for folder in ("one", "two"):
        (tmp_path / "photos" / folder).mkdir(parents=True)
    (tmp_path / "photos" / "one" / "a.png").write_bytes(encoded(photograph))
    (tmp_path / "photos" / "two" / "a.png").write_bytes(encoded(photograph[:, ::-1].copy()))
    collection = open_collection(str(tmp_path / "photos"))
    engine = plain(detector, collection.reader, OPTIONS, Limits())
    run_batch(
        engine,
        detector.model,
        OPTIONS,
        collection,
        tmp_path / "out",
        resume=False,
        progress=lambda lines, total: lines,
    )
    return tmp_path


def test_pycocotools_and_the_evaluation_read_what_a_batch_wrote(
    written: Path, detector: Detector, photograph: np.ndarray
) -> None:
    file = written / "out" / "keypoints.coco.json"
    coco = COCO(str(file))
    assert [each["file_name"] for each in coco.loadImgs(coco.getImgIds())] == [
        "one/a.png",
        "two/a.png",
    ]
    found = detector.locate(photograph, OPTIONS)
    (first,) = coco.loadAnns(coco.getAnnIds(imgIds=[1]))
    (category,) = coco.loadCats([first["category_id"]])
    assert category["name"] == found.target.label
    assert len(first["keypoints"]) == 3 * len(category["keypoints"])
    for landmarks in (
        read_coco(file, written / "photos")[0].landmarks,
        np.reshape(first["keypoints"], (-1, 3))[: first["num_keypoints"], :2] - 0.5,
    ):
        np.testing.assert_allclose(
            landmarks, [(each.x, each.y) for each in found.keypoints], atol=6e-4
        )
    assert open_collection(str(file), images=str(written / "photos")).names == (
        "one/a.png",
        "two/a.png",
    )
    photographs = read_coco(file, written / "photos")
    assert [each.path for each in photographs] == [
        written / "photos" / name / "a.png" for name in ("one", "two")
    ]


def test_pycocotools_scores_what_a_batch_wrote_as_its_own_truth(
    written: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth = COCO(str(written / "out" / "keypoints.coco.json"))
    results = [each | {"score": each["score"]} for each in truth.dataset["annotations"]]
    study = COCOeval(truth, truth.loadRes(results), "keypoints")
    for category in {each["category_id"] for each in results}:
        (known,) = truth.loadCats([category])
        study.params.catIds = [category]
        study.params.kpt_oks_sigmas = np.full(len(known["keypoints"]), 0.1)
        study.evaluate()
        study.accumulate()
        study.summarize()
        assert study.stats[0] == pytest.approx(1)


def test_each_class_of_a_photograph_is_an_annotation_of_its_own(
    detector: Detector, photograph: np.ndarray, tmp_path: Path
) -> None:
    found = detector.locate(photograph, replace(OPTIONS, target_class="cat,ant"))
    row = found_row("a.png", found)
    write_coco(tmp_path / "coco.json", lambda: iter([row]), LABELS, "", {})
    coco = json.loads((tmp_path / "coco.json").read_text())
    assert [(each["id"], each["category_id"]) for each in coco["annotations"]] == [(1, 3), (2, 1)]
    for each in coco["annotations"]:
        mine = [p for p in found.keypoints if p.target == each["category_id"] - 1]
        assert each["num_keypoints"] == len(mine) > 0
        assert each["keypoints"][0] == round(mine[0].x, 3) + 0.5
    assert "score" not in coco["annotations"][1], "tools that sort by it take numbers alone"


def test_annotation_files_of_several_folders_stay_apart() -> None:
    files = [Path("/x/a/coco/marks.json"), Path("/x/b/coco/marks.json"), Path("/x/other.json")]
    assert apart(files[:1]) == ["coco/marks"]
    assert apart(files) == ["a/coco/marks", "b/coco/marks", "x/other"]
    assert apart([files[0], files[0]]) == ["coco/marks", "coco/marks"]
