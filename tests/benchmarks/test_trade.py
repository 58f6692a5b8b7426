"""benchmarks/trade.py and kept_maps.py: a choice of fusion from maps in a folder."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.kept_maps import MapSetting, map_picture
from benchmarks.trade import figures
from benchmarks.trade_landmarks import best_choice, recall_of_candidates
from weakpoints.evaluation.photographs import Landmarked
from weakpoints.method.detector import Detector
from weakpoints.method.occlusion import positions, spread
from weakpoints.options import choose


def test_kept_maps_give_the_keypoints_of_a_detection_and_no_pass_is_made_twice(
    detector: Detector, photograph: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting = MapSetting(28, 14, 0.3, kept_step=14)
    seen = map_picture(detector, photograph, 2, tmp_path, boxes=((28, 14),))
    options = choose(target_class=2, patch=28, stride=14, colours=1, weight=0.3)
    found = detector.locate(photograph, options).keypoints
    xy = seen.points(setting)
    assert seen.count == len(found)
    np.testing.assert_allclose(xy[: seen.count], [(p.x, p.y) for p in found], atol=1e-6)
    monkeypatch.setattr(type(detector), "forward_backward", lambda *_: pytest.fail("a pass"))
    again = map_picture(detector, photograph, 2, tmp_path, boxes=((28, 14),))
    np.testing.assert_allclose(again.points(setting), xy)
    crowded = seen.points(setting, sigma=0.0)
    assert sorted(map(tuple, crowded.tolist())) == sorted(map(tuple, xy.tolist()))
    assert crowded.tolist() != xy.tolist()


def test_a_coarser_step_takes_those_of_the_kept_positions_that_it_has() -> None:
    drops = np.random.default_rng(0).random((6, 6))
    coarse, passes = MapSetting(64, 64, 0.2).map(drops, 224)
    starts = positions(224, 64, 64)
    assert (starts, passes) == ([0, 64, 128, 160], 16)
    chosen = drops[[0, 2, 4, 5]][:, [0, 2, 4, 5]]
    np.testing.assert_allclose(coarse, spread(chosen, starts, 64, 224))


def test_the_oracle_takes_the_candidates_that_meet_a_landmark_each() -> None:
    landmarks = np.array([[0.0, 0], [10, 0], [50, 0]])
    candidates = np.array([[1.0, 0], [0, 1], [10, 1], [90, 0]])
    assert best_choice(candidates, landmarks, 2, 3) == pytest.approx(2 * 2 / (3 + 3))
    assert best_choice(candidates, landmarks, 2, 1) == pytest.approx(2 * 1 / (1 + 3))
    assert best_choice(candidates[:0], landmarks, 2, 5) == 0


def test_differences_are_paired_and_by_set() -> None:
    ours, corners = np.array([[0.5, 0.6], [0.1, 0.2]]), np.array([[0.4, 0.5], [0.0, 0.1]])
    found = figures({"ours": ours, "corners": corners}, np.array(["a", "b"]))
    assert found["all"]["photographs"] == 2
    assert found["a"]["whole"]["ours"]["mean"] == 0.5
    less = found["all"]["boxed"]["corners"]["ours_less"]
    assert less["mean"] == pytest.approx(0.1)
    assert less["interval"] == pytest.approx((0.1, 0.1)), "the same on both photographs"


def test_the_recall_of_candidates_counts_each_landmark_once(
    detector: Detector, photograph: np.ndarray, tmp_path: Path
) -> None:
    seen = map_picture(detector, photograph, 2, tmp_path, boxes=((28, 14),))
    near, far = seen.candidates[0], np.array([1e4, 1e4])
    marked = Landmarked(Path("x.jpg"), "cat", (0, 0, 10, 10), np.stack([near, far]), ("a", "b"))
    assert recall_of_candidates([(marked, seen)]).tolist() == [0.5]
