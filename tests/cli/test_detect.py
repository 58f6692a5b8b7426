import json
from pathlib import Path

import pytest

from app.cli import main as cli

QUICK = ["--patch", "14", "--stride", "14"]


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
