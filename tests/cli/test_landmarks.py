import json
from pathlib import Path

import pytest

from app.cli import main as cli
from tests.landmarks.conftest import NAMES, PLACES, coco, scene
from tests.service import encoded


@pytest.fixture
def marked(tmp_path: Path) -> list[str]:
    shifts = {"a.png": (0, 0), "b.png": (4, 2)}
    for name, shift in shifts.items():
        (tmp_path / name).write_bytes(encoded(scene(shift)))
    places = {name: PLACES + shift for name, shift in shifts.items()}
    (tmp_path / "coco.json").write_text(json.dumps(coco(places)))
    return ["--annotations", str(tmp_path / "coco.json"), "--images", str(tmp_path)]


def test_landmarks_are_learnt_listed_and_found(
    marked: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "beast.landmarks"
    assert cli.main(["landmarks", "learn", *marked, "--out", str(kept)]) == 0
    assert "expected to be found" in capsys.readouterr().out
    assert cli.main(["landmarks", "list", str(tmp_path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told[0]["name"], told[0]["references"]) == ("beast", 2)
    photo = str(tmp_path / "b.png")
    assert cli.main(["landmarks", "find", photo, "--landmarks", str(kept), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [point["name"] for point in found["landmarks"]] == NAMES
    (tmp_path / "broken.png").write_bytes(b"no")
    files = [photo, str(tmp_path / "broken.png")]
    assert cli.main(["landmarks", "find", *files, "--landmarks", str(kept)]) == 1
    text = capsys.readouterr()
    assert "of 4 landmarks visible" in text.out
    assert "broken.png" in text.err


def test_what_is_wrong_is_one_sentence(
    marked: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.landmarks").write_bytes(b"no")
    assert cli.main(["landmarks", "list", str(tmp_path)]) == 1
    assert "bad.landmarks" in capsys.readouterr().err
    (tmp_path / "a.png").unlink()
    assert cli.main(["landmarks", "learn", *marked, "--out", str(tmp_path / "x")]) == 1
    assert "'a.png', but no photograph" in capsys.readouterr().err
