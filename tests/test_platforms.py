"""Elsewhere than on Linux: one sentence, or less of a bound; never a traceback."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from weakpoints.errors import WeakpointsError
from weakpoints.platforms import check_platform

WITHOUT = "import sys\nfor name in ('fcntl', 'resource'): sys.modules[name] = None\n"


@pytest.mark.parametrize("name", ["fcntl", "resource"])
def test_what_posix_has_is_needed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check_platform()
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(WeakpointsError, match=rf"needs Linux.*has no {name}.*WSL 2"):
        check_platform()


@pytest.mark.parametrize(
    "command", [["-m", "weakpoints", "--version"], ["-c", "from weakpoints import Weakpoints"]]
)
def test_elsewhere_one_sentence_says_what_is_needed(command: list[str], tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(WITHOUT)
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[1])])
    done = subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert done.returncode == 1
    assert "needs Linux" in done.stderr.splitlines()[-1]
    assert ("Traceback" in done.stderr) == (command[0] == "-c")
