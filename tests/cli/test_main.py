import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from app import __version__
from app.cli import main as cli
from app.cluster import start
from app.method.detector import Detector
from app.settings import Settings
from tests.conftest import LABELS
from tests.service import encoded

QUICK = ["--patch", "14", "--stride", "14"]


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch, detector: Detector) -> None:
    monkeypatch.setattr(cli, "loaded", lambda *args: detector)


@pytest.fixture
def folder(tmp_path: Path, photograph: np.ndarray) -> Path:
    """Three photographs, one in a sub-folder, and one broken file."""
    photos = tmp_path / "photos"
    (photos / "deep").mkdir(parents=True)
    for i, name in enumerate(("a.jpg", "b.png", "deep/c.webp")):
        (photos / name).write_bytes(
            encoded(
                np.roll(photograph, 9 * i, 1),
                {"jpg": "JPEG", "png": "PNG", "ebp": "WEBP"}[name[-3:]],
            )
        )
    (photos / "broken.jpg").write_bytes((photos / "a.jpg").read_bytes()[:300])
    (photos / "notes.txt").write_text("not a photograph")
    return photos


def test_detect_prints_keypoints_and_writes_overlays(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        cli.main(["detect", str(folder / "a.jpg"), "--overlay", str(tmp_path / "out"), *QUICK]) == 0
    )
    assert "keypoints" in capsys.readouterr().out
    assert (tmp_path / "out" / "a.png").read_bytes().startswith(b"\x89PNG")


def test_detect_prints_json_lines_and_reports_what_failed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [str(folder / name) for name in ("a.jpg", "broken.jpg", "absent.jpg", "b.png")]
    assert cli.main(["detect", *paths, "--json", "--seed", "3", *QUICK]) == 1
    said = capsys.readouterr()
    answers = [json.loads(line) for line in said.out.splitlines()]
    assert [answer["file"] for answer in answers] == [paths[0], paths[3]]
    assert answers[0]["options"]["seed"] == 3
    assert "cut short" in said.err
    assert "absent.jpg" in said.err


@pytest.mark.parametrize("wrong", [["--patch", "0"], ["--score", "luck"], ["--nonsense", "1"]])
def test_wrong_usage_is_exit_code_two(
    folder: Path, wrong: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main(["detect", str(folder / "a.jpg"), *wrong])
    assert left.value.code == 2
    assert wrong[0] in capsys.readouterr().err


def test_batch_writes_its_files_and_says_what_failed(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert cli.main(["batch", str(folder), "--out", str(out), "--json", *QUICK]) == 1
    said = capsys.readouterr()
    summary = json.loads(said.out)
    assert (summary["done"], summary["skipped"], summary["failed"]) == (3, 0, 1)
    assert "broken.jpg: the image/jpeg is cut short" in said.err
    assert {path.name for path in out.iterdir()} == {
        "keypoints.coco.json",
        "keypoints.parquet",
        "rows.jsonl",
    }
    (folder / "broken.jpg").unlink()
    assert cli.main(["batch", str(folder), "--out", str(out), "--resume", *QUICK]) == 0
    assert "0 done, 3 done before, 0 failed" in capsys.readouterr().out


def test_a_batch_is_not_resumed_with_other_options(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "out")
    cli.main(["batch", str(folder), "--out", out, *QUICK])
    assert cli.main(["batch", str(folder), "--out", out, "--resume", "--seed", "5", *QUICK]) == 1
    assert "other options" in capsys.readouterr().err
    assert cli.main(["batch", str(folder / "nowhere"), "--out", out]) == 2


@pytest.mark.parametrize("command", [["serve"], ["batch", "PHOTOS", "--out", "OUT"]])
def test_without_ray_its_engine_says_how_to_install_it(
    command: list[str],
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(start, "find_spec", lambda name: None)
    monkeypatch.setattr(cli.logging, "basicConfig", lambda **how: None)
    paths = {"PHOTOS": str(folder), "OUT": str(tmp_path / "out")}
    assert cli.main([paths.get(word, word) for word in command] + ["--engine", "ray"]) == 1
    assert "pip install '.[ray]'" in capsys.readouterr().err


def test_accuracy_counts_what_the_network_names_rightly(
    tmp_path: Path, photograph: np.ndarray, detector: Detector, capsys: pytest.CaptureFixture[str]
) -> None:
    named = LABELS[int(detector.classify(photograph).argmax())]
    wrong = next(label for label in LABELS if label != named)
    for label in (named, wrong):
        (tmp_path / label).mkdir()
        (tmp_path / label / "photo.png").write_bytes(encoded(photograph))
    assert cli.main(["evaluate", "accuracy", "--images", str(tmp_path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["top1"], found["top1_per_class"], found["images"]) == (0.5, 0.5, 2)
    (tmp_path / named / "broken.png").write_bytes(b"x")
    assert cli.main(["evaluate", "accuracy", "--images", str(tmp_path)]) == 1
    assert "broken.png" in capsys.readouterr().err
    (tmp_path / "unicorn").mkdir()
    assert cli.main(["evaluate", "accuracy", "--images", str(tmp_path)]) == 1
    assert "unicorn" in capsys.readouterr().err
    assert cli.main(["evaluate", "accuracy", "--images", str(tmp_path / "nowhere")]) == 2


def test_accuracy_of_unreadable_folders_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ant").mkdir()
    (tmp_path / "ant" / "broken.png").write_bytes(b"x")
    assert cli.main(["evaluate", "accuracy", "--images", str(tmp_path)]) == 1
    assert "could be read" in capsys.readouterr().err


def test_weights_are_listed_and_verified_and_pulled(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["weights", "list", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert (rows["bundled"]["state"], rows["vgg16"]["labels"]) == ("here", 1000)
    assert cli.main(["weights", "verify"]) == 0
    assert "bundled" in capsys.readouterr().out
    assert cli.main(["weights", "pull", "bundled"]) == 0
    assert cli.main(["weights", "pull"]) == cli.main(["weights", "verify", "alexnet"]) == 2


def test_weights_that_are_not_there_fail_the_check(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "labels.json").write_text('["a", "b"]')
    mine = {
        "architecture": "vgg11",
        "labels": "labels.json",
        "side": 32,
        "mean": [0, 0, 0],
        "std": [1, 1, 1],
        "sha256": "a" * 64,
        "licence": "",
    }
    (tmp_path / "manifest.json").write_text(
        json.dumps({"networks": {"mine": mine | {"file": "mine.pth"}}})
    )
    monkeypatch.setenv("WEAKPOINTS_MANIFEST", str(tmp_path / "manifest.json"))
    assert cli.main(["weights", "verify", "mine"]) == 1
    assert "mine.pth" in capsys.readouterr().err


def test_serve_listens_where_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Settings] = []
    monkeypatch.setattr(cli, "serve", lambda settings: asked.append(settings) or 0)
    monkeypatch.setattr(cli.logging, "basicConfig", lambda **how: None)
    assert cli.main(["serve", "--host", "0.0.0.0", "--port", "8123"]) == 0
    assert [(each.host, each.port) for each in asked] == [("0.0.0.0", 8123)]


def test_a_wrong_setting_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WEAKPOINTS_PORT", "high")
    assert cli.main(["weights", "list"]) == 1
    assert "port" in capsys.readouterr().err


def test_a_reader_that_has_had_enough_ends_a_command_without_a_word() -> None:
    command = [sys.executable, "-m", "app.cli", "weights", "list"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert capsys.readouterr().out.strip() == __version__
