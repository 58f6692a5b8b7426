import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from app.cli import main as cli
from app.cli.detect import output_paths
from app.loading import FEW, loaded
from app.settings import Settings
from weakpoints.engine.engine import Incremental

QUICK = ["--patch", "14", "--stride", "14"]


@pytest.fixture
def files(tmp_path: Path, photograph: np.ndarray) -> list[str]:
    """A photograph, one that is cut short, and one that is not there."""
    png = cv2.imencode(".png", photograph[..., ::-1])[1].tobytes()
    (tmp_path / "whole.png").write_bytes(png)
    (tmp_path / "short.png").write_bytes(png[: len(png) // 2])
    return [str(tmp_path / name) for name in ("short.png", "absent.png", "whole.png")]


def test_each_photograph_is_one_line_of_json_and_each_failure_is_said(
    files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["detect", *files, "--json", *QUICK]) == 1
    said = capsys.readouterr()
    (line,) = said.out.splitlines()
    answer = json.loads(line)
    assert answer["file"] == files[2]
    assert answer["model"]["name"] == "toy"
    assert answer["keypoints"]
    assert [each for each in files if each in said.err] == files[:2]


def test_where_no_photograph_can_be_read_no_network_is_loaded(tmp_path: Path) -> None:
    code = (
        "import sys; from app.cli.main import main; "
        "code = main(['detect', sys.argv[1]]); print(code, 'torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "absent.jpg")]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["1", "False"]
    assert "absent.jpg" in run.stderr


def test_people_read_the_class_and_a_line_for_each_keypoint(
    files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["detect", files[2], *QUICK, "--max-keypoints", "3"]) == 0
    first, *points = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{files[2]}: ")
    assert first.endswith("3 keypoints")
    assert len(points) == 3
    assert all("confidence 0." in point for point in points)


def test_an_overlay_is_as_large_as_its_photograph(
    files: list[str], tmp_path: Path, photograph: np.ndarray
) -> None:
    out = tmp_path / "overlays"
    assert cli.main(["detect", files[2], "--overlay", str(out), *QUICK]) == 0
    drawn = cv2.imread(str(out / "whole.png"))
    assert drawn.shape == photograph.shape
    assert (drawn != photograph[..., ::-1]).any()


def test_several_classes_have_a_heading_and_an_overlay_each(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--target-class", "cat,dog", "--max-keypoints", "2", "--overlay", str(tmp_path / "o")]
    assert cli.main(["detect", files[2], *asked, *QUICK]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [lines[i].strip() for i in (1, 4)] == ["cat:", "dog:"]
    assert len(lines) == 7
    drawn = {path.name: path.read_bytes() for path in (tmp_path / "o").iterdir()}
    assert set(drawn) == {"whole.2.png", "whole.3.png"}
    assert len(set(drawn.values())) == 2


def test_arrays_are_written_beside_each_other(files: list[str], tmp_path: Path) -> None:
    out = tmp_path / "deep" / "arrays"
    assert cli.main(["detect", *files, "--arrays", str(out), *QUICK]) == 1
    (path,) = out.iterdir()
    assert path.name == "whole.npz"
    with np.load(path, allow_pickle=False) as found:
        assert found["fused"].shape == (56, 56)
        assert json.loads(str(found["answer"]))["model"]["name"] == "toy"


def test_overlays_have_a_name_each(tmp_path: Path) -> None:
    photographs = ["a.jpg", "a.png", "s/a.jpg", "s/A.JPG", "b.jpg", "a.jpg"]
    found = list(output_paths([Path(each) for each in photographs], tmp_path, ".png"))
    assert [path.name for path in found] == [
        "a.png",
        "a.png.png",
        "a.jpg.png",
        "A.JPG.2.png",
        "b.png",
        "a.jpg.3.png",
    ]
    assert len({path.name.casefold() for path in found}) == len(photographs)


def test_no_photograph_is_written_over(tmp_path: Path) -> None:
    photographs = [tmp_path / "a.png", tmp_path / "a.png.png"]
    assert not set(output_paths(photographs, tmp_path, ".png")) & set(photographs)


def test_a_file_that_is_there_is_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(b"another picture")
    (tmp_path / "other.281.png").write_bytes(b"of a class")
    photographs = [tmp_path / "photo.jpg", tmp_path / "other.jpg"]
    paths = [path.name for path in output_paths(photographs, tmp_path, ".png") if path]
    assert paths == ["photo.jpg.png", "other.jpg.png"]


def test_a_name_that_is_too_long_is_cut_and_stays_apart_from_others(tmp_path: Path) -> None:
    photographs = [Path("é" * 120 + f"{i}.jpg") for i in range(3)]
    paths = [path for path in output_paths(photographs, tmp_path, ".png") if path]
    assert len(set(paths)) == 3
    for path in paths:
        path.with_name(f"{path.stem}.999{path.suffix}").write_bytes(b"")


@pytest.mark.parametrize(("count", "compiles"), [(FEW, 0), (FEW + 1, 1), (None, 1)])
def test_for_a_few_photographs_nothing_is_compiled(
    count: int | None, compiles: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Incremental] = []
    monkeypatch.setattr(Incremental, "compile", lambda self: calls.append(self))
    loaded(Settings(network="bundled"), count)
    assert len(calls) == compiles
