"""The compiled loops as plain Python: what a trace of machine code can't see, coverage included."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_loops_are_their_twins_without_the_compiler_too() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-k",
            "compiled",  # the twins in PyTorch are the same with and without the compiler
            "tests/incremental/test_loops.py",
        ],
        env=os.environ | {"NUMBA_DISABLE_JIT": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
