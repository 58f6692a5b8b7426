"""The parent's end of a process that decodes."""

import subprocess
import sys
import time
from pathlib import Path

from app.decoding.exchange import MemoryFiles, Task
from app.decoding.handle import Child, DecodeCall
from tests.service import picture
from weakpoints.options import WHITE, Limits


def test_a_child_answers_and_has_no_torch() -> None:
    child, data = Child(2**28), picture(80)
    with MemoryFiles(0).one(data) as file:
        task = Task(len(data), 60, Limits(), WHITE)
        assert child.ask(task, file.fileno(), time.monotonic() + 60) == {"shape": [60, 80, 3]}
    maps = Path(f"/proc/{child.process.pid}/maps").read_text()
    assert "cv2" in maps
    assert "torch" not in maps
    code = "import sys, app.decoding.child; print([m for m in sys.modules if 'torch' in m])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def test_a_child_ends_with_its_handle() -> None:
    child = Child(2**28)
    process = child.process
    assert child.alive
    del child
    assert process.returncode is not None


def test_a_call_that_is_given_up_kills_and_does_not_wait() -> None:
    child, call = Child(2**28), DecodeCall()
    waited: list[float | None] = []
    child.process.wait = waited.append  # type: ignore[assignment, method-assign]
    call.works_for(child)
    call.give_up()
    assert not child.alive
    assert not waited
    del child.process.wait
    assert child.process.wait(30) < 0
