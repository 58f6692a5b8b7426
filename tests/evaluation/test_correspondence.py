import json
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from app.cli import main as cli
from tests.landmarks.conftest import PLACES, coco, scene
from tests.service import encoded
from weakpoints.evaluation.correspondence import target_cases
from weakpoints.evaluation.transfer import SiftFeatures, sift_matches


@pytest.fixture
def marked(tmp_path: Path) -> list[str]:
    shifts = {"a.png": (0, 0), "b.png": (4, 2), "c.png": (8, 4)}
    for name, shift in shifts.items():
        (tmp_path / name).write_bytes(encoded(scene(shift)))
    places = {name: PLACES + shift for name, shift in shifts.items()}
    (tmp_path / "coco.json").write_text(json.dumps(coco(places)))
    return ["--annotations", str(tmp_path / "coco.json"), "--images", str(tmp_path)]


def test_one_reference_is_every_ordered_pair_and_several_are_drawn_for_each_target() -> None:
    pairs = {(*case.references, case.target) for case in target_cases("abcd", 1)}
    assert pairs == set(permutations(range(4), 2))
    cases = list(target_cases("abcd", 2))
    assert {case.target for case in cases} == {0, 1, 2, 3}
    assert all(case.target not in case.references for case in cases)
    assert cases == list(target_cases("abcd", 2))


def test_a_photograph_is_never_a_reference_for_itself() -> None:
    assert list(target_cases("a", 1)) == list(target_cases("aa", 5)) == []
    # Two objects are marked on photograph a.
    assert {(*case.references, case.target) for case in target_cases("aab", 1)} == {
        (2, 0),
        (2, 1),
        (0, 2),
        (1, 2),
    }
    assert all(2 in case.references for case in target_cases("aab", 2) if case.target < 2)


def test_landmarks_on_one_place_can_not_be_measured_and_that_is_said(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    detector: object,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("app.loading.loaded", lambda *args: detector)
    names = ("a.png", "b.png", "c.png")
    for name in names:
        (tmp_path / name).write_bytes(encoded(scene()))
    places = dict.fromkeys(names, np.full((4, 2), 40.0))
    (tmp_path / "coco.json").write_text(json.dumps(coco(places)))
    given = ["--annotations", str(tmp_path / "coco.json"), "--images", str(tmp_path)]
    assert cli.main(["evaluate", "correspondence", *given]) == 1
    assert "no category has two photographs" in capsys.readouterr().err


@pytest.mark.parametrize(("references", "cases"), [(1, 6), (2, 3)])
def test_the_command_counts_right_landmarks(
    marked: list[str],
    references: int,
    cases: int,
    monkeypatch: pytest.MonkeyPatch,
    detector: object,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("app.loading.loaded", lambda *args: detector)
    command = ["evaluate", "correspondence", *marked, "--references", str(references)]
    assert cli.main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found["pck"]) == ["0.05", "0.1", "0.15"]
    assert (found["cases"], found["landmarks"]) == (cases, 4 * cases)
    assert found["pck"]["0.1"] <= found["pck"]["0.15"]
    low, high = found["interval"]["0.1"]
    assert low <= found["pck"]["0.1"] <= high
    assert set(found["baselines"]) == {"same_place", "sift", "nearest_neighbour"}
    # The shift is at most 8 pixels of 100: the same place is always within 0.15, not within 0.05.
    same = found["baselines"]["same_place"]["pck"]
    assert same["0.15"] == 1
    assert same["0.05"] < 1
    assert found["by_category"]["beast"]["pck"] == found["pck"]
    assert 0 <= found["calibration_error"] <= 1
    assert found["cropped"]["gone"] > 0
    assert cli.main(command) == 0
    assert "quarters" in capsys.readouterr().out


def test_sift_carries_landmarks_of_a_shifted_photograph(photograph: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (30, 40, 3)).repeat(4, 0).repeat(4, 1).astype(np.uint8)
    places = np.array([[40.0, 40.0], [90.0, 60.0]])
    ours, theirs = SiftFeatures.of(image), SiftFeatures.of(np.roll(image, (8, 12), (0, 1)))
    moved = sift_matches(ours, theirs, places)
    assert moved == pytest.approx(places + np.array([12, 8]), abs=1)
    blank = SiftFeatures.of(np.full_like(image, 9))
    assert sift_matches(ours, blank, places) == pytest.approx(places)
