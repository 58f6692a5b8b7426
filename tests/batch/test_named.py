"""Named points over a collection: by a set, and by keypoints that get an identity."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pycocotools.coco import COCO

from app.batch.collection import open_collection
from app.batch.named import (
    MOST_POINTS,
    NamedLocator,
    by_set,
    digest_of,
    keep_patterns,
    kept_patterns,
)
from app.batch.run import plain
from app.cli import main as cli
from app.cluster.data import Locate
from tests.landmarks.conftest import NAMES, PLACES, coco, scene
from tests.service import encoded
from weakpoints.landmarks.annotations import read_annotations
from weakpoints.landmarks.describer import Describer
from weakpoints.landmarks.landmark_set import LandmarkSet
from weakpoints.landmarks.learning import learn
from weakpoints.landmarks.named import Pattern
from weakpoints.method.detector import Detector
from weakpoints.options import Limits, choose

QUICK = ["--patch", "28", "--stride", "28", "--max-keypoints", "5"]


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch, detector: Detector) -> None:
    monkeypatch.setattr("app.loading.loaded", lambda *args: detector)


@pytest.fixture
def learnt(detector: Detector) -> LandmarkSet:
    marked = read_annotations(json.dumps(coco({"a.png": PLACES})), "beast.json")
    return learn(Describer(detector), marked, lambda name: scene(), choose())


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(3):
        (folder / f"{i}.png").write_bytes(encoded(scene((2 * i, i))))
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return folder


def run(photos: Path, out: Path, *more: str) -> dict[str, Any]:
    assert cli.main(["batch", str(photos), "--out", str(out), *QUICK, *more]) == 1
    written: dict[str, Any] = json.loads((out / "keypoints.coco.json").read_text())
    COCO(str(out / "keypoints.coco.json"))
    return written


def test_a_set_s_landmarks_are_coco_with_names_and_skeleton(
    photos: Path, tmp_path: Path, learnt: LandmarkSet
) -> None:
    learnt.save(tmp_path / "beast.landmarks")
    more = ["--landmarks", str(tmp_path / "beast.landmarks")]
    written = run(photos, tmp_path / "out", *more)
    category = written["categories"][0]
    assert (category["name"], category["keypoints"]) == ("beast", NAMES)
    assert category["skeleton"] == [[1, 2], [2, 3]]
    assert len(written["annotations"]) == 3
    for annotation in written["annotations"]:
        seen = [v == 2 for v in annotation["keypoints"][2::3]]
        assert annotation["num_keypoints"] == sum(seen)
        assert len(annotation["confidences"]) == 4
    assert [each["file_name"] for each in written["errors"]] == ["broken.png"]
    table = pq.read_table(tmp_path / "out" / "keypoints.parquet").to_pylist()
    assert [row["name"] for row in table if row["file_name"] == "0.png"] == NAMES
    again = run(photos, tmp_path / "out", *more, "--resume")
    assert again == written
    wrong = ["batch", str(photos), "--out", str(tmp_path / "out"), "--resume", *QUICK]
    assert cli.main(wrong) == 1  # begun with a set


def test_both_engines_make_the_same_lines(
    photos: Path, learnt: LandmarkSet, detector: Detector
) -> None:
    reader, locator = open_collection(str(photos)).reader, by_set(lambda: detector, learnt)
    expected = list(plain(locator, reader, choose(), Limits())(["1.png"]))
    image = scene((2, 1))
    item = {"file_name": "1.png", "error": None, "height": image.shape[0], "bands": 3}
    worker = Locate(lambda: by_set(lambda: detector, learnt), choose())
    assert [worker(item | {"pixels": image.tobytes()})["line"]] == expected


def test_keypoints_of_a_class_get_one_identity(photos: Path, tmp_path: Path) -> None:
    written = run(photos, tmp_path / "out", "--consistent")
    assert len(written["categories"]) == 1
    names = written["categories"][0]["keypoints"]
    assert names == [f"P{i}" for i in range(1, len(names) + 1)]
    assert 1 <= len(names) <= MOST_POINTS
    assert {each["category_id"] for each in written["annotations"]} == {
        written["categories"][0]["id"]
    }
    assert run(photos, tmp_path / "again", "--consistent") == written


def test_a_resumed_run_keeps_the_identities_it_gave(photos: Path, tmp_path: Path) -> None:
    before = run(photos, tmp_path / "out", "--consistent")
    # With these the class would lend the keypoints of another photograph.
    for i in range(3, 8):
        (photos / f"{i}.png").write_bytes(encoded(scene((0, 0))))
    after = run(photos, tmp_path / "out", "--consistent", "--resume")
    assert after["categories"] == before["categories"]
    assert len(after["annotations"]) == len(before["annotations"]) + 5
    for old, new in zip(before["annotations"], after["annotations"], strict=False):
        assert new["keypoints"] == old["keypoints"]


def test_kept_identities_are_the_same_to_the_bit(tmp_path: Path, learnt: LandmarkSet) -> None:
    assert kept_patterns(tmp_path / "sets") is None
    patterns = {3: learnt.pattern, 17: learnt.pattern}
    for _ in range(2):
        keep_patterns(tmp_path / "sets", patterns)
        kept = kept_patterns(tmp_path / "sets")
        assert kept is not None
        assert digest_of(kept) == digest_of(patterns)


def test_a_class_without_a_pattern_has_no_landmark(detector: Detector) -> None:
    found = NamedLocator(detector, {}).locate(scene(), choose())
    assert (found.landmarks, found.bbox) == ((), None)
    assert found.top


def test_a_set_of_another_network_ends_the_run(
    photos: Path, tmp_path: Path, learnt: LandmarkSet, capsys: pytest.CaptureFixture[str]
) -> None:
    pattern = learnt.pattern
    foreign = Pattern(pattern.category, pattern.names, (), pattern.references, "f" * 64)
    LandmarkSet(foreign).save(tmp_path / "foreign.landmarks")
    more = ["--landmarks", str(tmp_path / "foreign.landmarks")]
    assert cli.main(["batch", str(photos), "--out", str(tmp_path / "out"), *more]) == 1
    assert "ffffffffffff" in capsys.readouterr().err
    both = [*more, "--consistent"]
    assert cli.main(["batch", str(photos), "--out", str(tmp_path / "out"), *both]) == 2
