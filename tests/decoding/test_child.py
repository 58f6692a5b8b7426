"""The child's side of the conversation, in a thread here."""

import json
import os
import resource
import socket
import threading

import numpy as np
import pytest

from app.decoding import child
from app.decoding.child import answer_parent, answer_to, bound_memory
from app.decoding.exchange import BEGAN, Task, task_of
from tests.service import encoded
from weakpoints.options import WHITE, Limits

NOISE = np.random.default_rng(0).integers(0, 256, (60, 80, 3)).astype(np.uint8)
PICTURE = encoded(NOISE)


def in_memory(data: bytes) -> int:
    file = os.memfd_create("picture")
    os.write(file, data)
    return file


def test_a_task_survives_the_way() -> None:
    task = Task(17, 2.5, Limits(max_pixels=99), "00ff00")
    assert task_of(task.line()) == task


def test_pixels_are_written_over_the_picture_and_errors_are_told() -> None:
    ours, theirs = socket.socketpair()
    thread = threading.Thread(target=answer_parent, args=(theirs,))
    thread.start()
    with ours, theirs:
        for data, expected in ((PICTURE, [60, 80, 3]), (PICTURE[:300], "BadImage")):
            file = in_memory(data)
            task = Task(len(data), 60, Limits(), WHITE)
            socket.send_fds(ours, [task.line()], [file])
            with ours.makefile("rb") as lines:
                assert lines.readline() == BEGAN
                answer = json.loads(lines.readline())
            assert expected in answer.values()
            pixels = np.frombuffer(os.pread(file, NOISE.size, 0), np.uint8)
            assert ("shape" in answer) == np.array_equal(pixels, NOISE.ravel())
            os.close(file)
        ours.shutdown(socket.SHUT_RDWR)
        thread.join(30)


@pytest.mark.parametrize(
    ("raised", "told"), [(MemoryError(), "MemoryError"), (ValueError("odd"), "BadImage")]
)
def test_whatever_a_codec_raises_is_an_answer(
    raised: Exception, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(data: bytes, limits: Limits, background: str) -> None:
        raise raised

    monkeypatch.setattr(child, "decode", broken)
    file = in_memory(PICTURE)
    assert answer_to(Task(len(PICTURE), 60, Limits(), WHITE), file)["error"] == told
    os.close(file)


def test_memory_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {}
    monkeypatch.setattr(resource, "setrlimit", lambda kind, both: asked.update({kind: both}))
    bound_memory(2**30)
    most, hard = asked[resource.RLIMIT_AS]
    assert most == hard > 2**30
    assert asked[resource.RLIMIT_CORE] == (0, 0)
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (9, 9))
    bound_memory(2**30)
    assert asked[resource.RLIMIT_AS] == (9, 9), "a lower limit of the process stays"


def test_without_proc_a_child_starts_without_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {}
    monkeypatch.setattr(resource, "setrlimit", lambda kind, both: asked.update({kind: both}))

    def missing(file: str) -> None:
        raise FileNotFoundError(file)

    monkeypatch.setattr(child, "open", missing, raising=False)
    bound_memory(2**30)
    assert asked == {resource.RLIMIT_CORE: (0, 0)}
