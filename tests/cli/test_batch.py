import json
from pathlib import Path

import pytest

from app.cli import main as cli

QUICK = ["--patch", "14", "--stride", "14"]


def test_batch_writes_its_files_and_says_what_failed(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert cli.main(["batch", str(folder), "--out", str(out), "--json", *QUICK]) == 1
    said = capsys.readouterr()
    summary = json.loads(said.out)
    assert (summary["done"], summary["skipped"], summary["failed"]) == (3, 0, 1)
    assert "broken.jpg: " in said.err
    assert "cut short" in said.err
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
