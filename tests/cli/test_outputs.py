"""Nothing of a user's is written over, and what can't be written is said before the work."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from safetensors.numpy import save

from app.cli.detect import output_paths
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


LETTERS = st.characters(codec="utf-8", exclude_characters="/")
NAMES = st.text(LETTERS, max_size=300) | st.text("a-.é\u0301 ", min_size=1)


def refusal_of(path: Path) -> str | None:
    try:
        return check_output(path, REPORT, "report")
    except ValueError as error:
        return str(error)


@given(NAMES)
@example("a" * 256)
@example("é" * 200)
@example("a\0b")
@example("--out")
def test_a_name_that_is_let_through_can_be_written(
    tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    path = tmp_path_factory.getbasetemp() / name
    if why := refusal_of(path):
        assert "can't be written" in why or "is a folder" in why
    else:
        path.write_bytes(b"")
        path.unlink()


@given(st.lists(NAMES, min_size=1, max_size=4))
@example(["é" * 120 + ".jpg", "E\u0301" * 60 + ".jpg", "-a", "-A"])
def test_overlays_of_photographs_of_any_name_can_be_written_and_are_one_each(
    tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    photographs = [Path("photographs") / name.replace("\0", "") for name in names]
    folder = tmp_path_factory.mktemp("overlays")
    paths = [path for path in output_paths(photographs, folder, ".png") if path is not None]
    assert len({path.name.casefold() for path in paths}) == len(names)
    for path in paths:
        assert path.parent == folder
        path.write_bytes(b"")
        path.with_name(f"{path.stem}.12345678{path.suffix}").write_bytes(b"")
