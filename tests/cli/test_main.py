import subprocess
import sys
from pathlib import Path

import pytest

from app.cli import main as cli
from weakpoints import __version__


def test_a_dash_is_stdin_where_photographs_are_read() -> None:
    assert cli.with_stdin(["detect", "-", "a.jpg"]) == ["detect", "/dev/stdin", "a.jpg"]
    assert cli.with_stdin(["landmarks", "find", "-"]) == ["landmarks", "find", "/dev/stdin"]
    for words in (["detect", "--overlay", "-"], ["batch", "-"], []):
        assert cli.with_stdin(words) == words


def test_a_wrong_setting_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WEAKPOINTS_PORT", "high")
    assert cli.main(["weights", "list"]) == 1
    assert "port" in capsys.readouterr().err


def test_a_reader_that_has_had_enough_ends_a_command_without_a_word() -> None:
    command = [sys.executable, "-m", "weakpoints", "weights", "list"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == __version__


@pytest.mark.parametrize(
    "words", [[], ["fly"], ["evaluate"], ["evaluate", "fly"], ["--fly"], ["weights", "fly"]]
)
def test_what_is_no_command_ends_with_two_and_nothing_on_stdout(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words) == 2
    said = capsys.readouterr()
    assert said.err.startswith("weakpoints: ")
    assert said.out == ""


@pytest.mark.parametrize(
    "words", ["--version", "--help", "detect --help", "evaluate report --help", "serve --help"]
)
def test_version_and_help_need_none_of_the_heavy_libraries(words: str) -> None:
    asked = (
        "import sys; from app.cli.main import main; status = main(sys.argv[1:]); "
        "print(sorted({'torch', 'fastapi', 'cv2', 'numpy', 'pydantic', 'ray'} & set(sys.modules)));"
        "sys.exit(status)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", asked, *words.split()], capture_output=True, text=True, check=True
    )
    assert answer.stdout.splitlines()[-1] == "[]"


def test_an_interrupt_is_exit_code_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("weakpoints.networks.manifest.read_manifest", interrupted)
    assert cli.main(["weights", "list"]) == 130


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_no_file_takes_the_number_of_a_standard_one_that_is_closed(
    closed: str, tmp_path: Path
) -> None:
    code = """
import os, socket, sys
from app.cli.main import main

assert main(["--version"]) == 0
ours = [os.open(os.devnull, os.O_RDONLY), *(each.fileno() for each in socket.socketpair())]
open(sys.argv[1], "w").write(repr(min(ours) > 2))
"""
    told = tmp_path / "told"
    command = f"{sys.executable} -c '{code}' {told} {closed}"
    assert subprocess.run(["sh", "-c", command], check=True).returncode == 0
    assert told.read_text() == "True"


@pytest.mark.parametrize("stderr", ["2>/dev/full", "2</dev/null", "2>&-"])
def test_a_stderr_that_takes_nothing_ends_no_command(stderr: str) -> None:
    code = """
from app.cli.main import main
from app.cli.terminal import bar

print(sum(bar("count", range(9))), main(["nothing"]))
"""
    command = f"{sys.executable} -c '{code}' {stderr}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout == "36 2\n"
