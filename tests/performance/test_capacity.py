import json
from pathlib import Path
from typing import Any

import pytest

from app.cli import main as cli
from app.performance import capacity as module


@pytest.fixture(autouse=True)
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    figures = {
        "sleeping_collection_2": {"efficiency": 0.9},
        "sleeping_collection_4": {"efficiency": 0.8},
    }
    sizes = {
        "bytes_per_image": {
            "rows.jsonl": 3000,
            "keypoints.parquet": 1000,
            "keypoints.coco.json": 1000,
        }
    }
    (tmp_path / "scale.json").write_text(json.dumps(figures | {"network_plain": sizes}))
    (tmp_path / "detection.json").write_text(json.dumps({"default": {"median_s": 2.0}}))
    monkeypatch.setattr(module, "RESULTS", tmp_path)
    return tmp_path


def planned(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert cli.main(["benchmark", "plan", "--json", *arguments]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_a_measured_time_makes_hours_and_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    found = planned(capsys, "--images", "3.6e6", "--seconds-per-image", "0.01")
    assert found["collection"]["device_hours"] == pytest.approx([10 / 0.9, 10 / 0.8])
    assert found["collection"]["days_on"]["8"][1] == pytest.approx(10 / 0.8 / 8 / 24)
    assert found["collection"]["bytes_kept"] == 3.6e6 * 5000
    assert found["assumptions"][0]["known"] == "given"


def test_a_gpu_s_time_is_said_to_be_an_estimate(capsys: pytest.CaptureFixture[str]) -> None:
    (seconds, *_) = planned(capsys, "--gpu", "h200")["assumptions"]
    assert seconds["best"] < seconds["worst"]
    assert seconds["known"].startswith("ESTIMATE, not measured")
    (seconds, *_) = planned(capsys, "--gpu", "cpu")["assumptions"]
    assert (seconds["best"], seconds["worst"]) == (2.0, 2.0)
    assert "detection.json" in seconds["known"]


def test_replicas_for_a_rate_keep_the_latency(capsys: pytest.CaptureFixture[str]) -> None:
    service = planned(capsys, "--rate", "100", "--latency", "0.15", "--seconds-per-image", "0.1")[
        "service"
    ]
    assert service["p95_s"] <= 0.15
    assert 30 <= service["replicas"] <= 36, (
        "33 by simulation; one line for all would need fewer than 20"
    )
    assert service["busy"] == pytest.approx(10 / service["replicas"])
    assert planned(capsys, "--rate", "1", "--seconds-per-image", "0.1")["service"]["latency_s"] == 1


def test_a_plan_for_people_names_its_assumptions(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["benchmark", "plan", "--images", "1e9", "--rate", "1000"]) == 0
    said = capsys.readouterr().out
    assert "device hours" in said
    assert "replicas" in said
    assert "ESTIMATE" in said


def test_what_can_not_be_planned_is_said(
    recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["benchmark", "plan", "--images", "-1"]) == 2
    assert (
        cli.main(
            ["benchmark", "plan", "--rate", "1", "--latency", "0.01", "--seconds-per-image", "0.1"]
        )
        == 1
    )
    assert "less than the 0.1 s" in capsys.readouterr().err
    (recorded / "detection.json").unlink()
    assert cli.main(["benchmark", "plan", "--gpu", "cpu"]) == 1
    assert "give --seconds-per-image" in capsys.readouterr().err


def test_what_was_not_measured_is_said_to_be_assumed(
    recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (recorded / "scale.json").unlink()
    _, share, kept, _ = planned(capsys)["assumptions"]
    assert (share["best"], share["worst"]) == (1, 1)
    assert share["known"].startswith("ASSUMED")
    assert kept["known"].startswith("ASSUMED")
