import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from app.cli import main as cli
from benchmarks.precision import FIRST, likeness, precision_fidelity
from tests.service import encoded
from tests.toys import with_points
from weakpoints.engine.engine import Incremental
from weakpoints.evaluation.photographs import read
from weakpoints.method.detector import Detector
from weakpoints.options import choose

QUICK = choose(patch=14, stride=14)


@pytest.fixture
def folder(tmp_path: Path, photograph: np.ndarray) -> Path:
    for i in range(2):
        (tmp_path / f"{i}.png").write_bytes(encoded(np.roll(photograph, 20 * i, 1)))
    return tmp_path


def test_a_detection_is_wholly_like_itself_and_one_moved_by_more_than_the_radius_shares_no_keypoint(
    detector: Detector, photograph: np.ndarray
) -> None:
    found = detector.locate(photograph, QUICK)
    assert likeness(found, found).keypoints == 1
    assert likeness(found, found).maps == pytest.approx((1, 1, 1))
    moved = with_points(
        found, lambda points: tuple(replace(p, x=p.x + 1000) for p in points[:FIRST])
    )
    assert likeness(found, moved).keypoints == 0
    half = with_points(found, lambda points: points[: len(points[:FIRST]) // 2])
    assert likeness(found, half).keypoints == pytest.approx(
        len(half.keypoints) / len(found.keypoints[:FIRST])
    )


def test_half_precision_is_like_float32_but_not_the_same(detector: Detector, folder: Path) -> None:
    half = replace(detector, occluder=Incremental(detector.network, dtype=torch.float16))
    paths = sorted(folder.iterdir())
    found = precision_fidelity(detector, half, paths, QUICK, (1, 3), list)
    assert found["photographs"] == 2
    assert 0.9 < found["spearman"]["coarse"]["least"] <= 1
    one, other = (each.locate(read(paths[0]), QUICK).maps.coarse for each in (detector, half))
    assert not np.array_equal(one, other)
    assert found["spearman"]["fine"]["least"] == pytest.approx(1)
    assert found["same_keypoints"]["mean"] > 0.8
    assert all(found["images_per_second"][queued]["median"] > 0 for queued in ("1", "3"))


def test_the_command_compares_the_bundled_network_with_itself(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [
        "benchmark",
        "precision",
        "--images",
        str(folder),
        "--limit",
        "1",
        "--precision",
        "float32",
        "--queued",
        "1,2",
    ]
    command += ["--patch", "28", "--stride", "28"]
    assert cli.main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["same_keypoints"]["least"] == 1
    assert found["precision"] == "float32"
