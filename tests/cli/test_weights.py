import json
from pathlib import Path

import pytest

from app.cli import main as cli


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
