"""Nothing of a user's is written over, and what can't be written is said before the work."""

from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.numpy import save

from app.cli.main import main
from app.cli.outputs import LANDMARK_SET, REPORT, check_output
from weakpoints.evaluation.report import page


def learn(tmp_path: Path, out: Path) -> list[str]:
    marks = ["--annotations", str(tmp_path / "none.json"), "--images", str(tmp_path)]
    return ["landmarks", "learn", *marks, "--out", str(out)]


def evaluate(tmp_path: Path, out: Path) -> list[str]:
    return ["evaluate", "sanity", "--images", str(tmp_path), "--html", str(out)]


@pytest.mark.parametrize("command", [learn, evaluate])
def test_a_file_of_another_s_stays_and_nothing_is_begun(
    command: Callable[[Path, Path], list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photograph = tmp_path / "photo.jpg"
    photograph.write_bytes(b"a photograph")
    wrong = {
        photograph: "photo.jpg is there and is no",
        tmp_path: "is a folder; name a file",
        tmp_path / "none" / "out": "there is no folder",
    }
    for out, said in wrong.items():
        assert main(command(tmp_path, out)) == 2
        assert said in capsys.readouterr().err
    assert photograph.read_bytes() == b"a photograph"


def test_what_such_a_command_wrote_may_be_written_anew(tmp_path: Path) -> None:
    report, learnt, empty = (tmp_path / name for name in ("a.html", "a.landmarks", "empty"))
    report.write_text(page("network", {}, ()))
    learnt.write_bytes(save({}, {"weakpoints": "{}"}))  # as LandmarkSet does
    empty.touch()
    check_output(report, REPORT, "report")
    check_output(learnt, LANDMARK_SET, "set")
    check_output(empty, REPORT, "report")
    check_output(Path("/dev/null"), REPORT, "report")
    with pytest.raises(ValueError, match="is no report"):
        check_output(learnt, REPORT, "report")
