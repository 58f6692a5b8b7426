"""Pictures decoded in processes that hang, break down, are killed, or are no longer wanted."""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.decoding.handle import DecodeCall
from app.decoding.pool import Decoders
from tests.service import encoded, slow_picture, until
from weakpoints.errors import (
    BadImage,
    DeadlinePassed,
    MalformedRequest,
    TooLarge,
    Unavailable,
    UnsupportedMedia,
    WeakpointsError,
)
from weakpoints.images.decode import decode
from weakpoints.options import Limits

LIMITS = Limits(max_scanned=10**15)
NOISE = np.random.default_rng(0).integers(0, 256, (60, 80, 3)).astype(np.uint8)
EASY = encoded(NOISE, "JPEG")


@pytest.fixture(scope="module")
def slow() -> bytes:
    return slow_picture()


@pytest.fixture(scope="module")
def decoders() -> Iterator[Decoders]:
    with Decoders(2, LIMITS) as pool:
        yield pool


def children(pool: Decoders) -> set[int]:
    return {child.process.pid for child in (*pool._idle, *pool._busy)}


def busy(pool: Decoders) -> int:
    """The process that decodes now, once it has begun."""
    until(lambda: any(child.began for child in pool._busy))
    (child,) = pool._busy
    return child.process.pid


def gone(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_the_pixels_are_those_of_decoding_here(decoders: Decoders, kind: str) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    data = encoded(Image.fromarray(NOISE), kind, exif=turned)
    image = decoders.decode(data)
    assert image.shape == (80, 60, 3)
    np.testing.assert_array_equal(image, decode(data, LIMITS))
    image[0, 0] = 0  # the caller's own


def test_what_is_not_seen_and_the_background_come_back_too(decoders: Decoders) -> None:
    picture = Image.fromarray(NOISE)
    picture.putalpha(Image.fromarray(np.tile(np.linspace(0, 255, 80), (60, 1)).astype(np.uint8)))
    for background in ("ffffff", "102030"):
        image = decoders.decode(encoded(picture), background=background)
        assert image.shape == (60, 80, 4)
        assert image[0, 0].tolist() == [*bytes.fromhex(background), 0]
        np.testing.assert_array_equal(image, decode(encoded(picture), LIMITS, background))


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", MalformedRequest),
        (b"GIF89a", BadImage),
        (b"%PDF", UnsupportedMedia),
        (bytes(21 * 2**20), TooLarge),
        (EASY[:-99], BadImage),
        (EASY[:-2] + EASY[EASY.index(b"\xff\xc0") :], BadImage),
        (encoded(NOISE)[:200], BadImage),
    ],
)
def test_a_refusal_is_the_one_of_decoding_here(
    decoders: Decoders, data: bytes, kind: type[WeakpointsError]
) -> None:
    refusals = []
    for refuse in (lambda: decoders.decode(data), lambda: decode(data, LIMITS)):
        with pytest.raises(kind) as raised:
            refuse()
        refusals.append((raised.value.detail, raised.value.figures))
    assert refusals[0] == refusals[1]


def test_a_deadline_ends_the_child_and_there_is_another(slow: bytes) -> None:
    with Decoders(1, LIMITS) as pool:
        pool.decode(EASY)
        (first,) = children(pool)
        with pytest.raises(DeadlinePassed, match=r"not decoded after 0\.2 s"):
            pool.decode(slow, seconds=0.2)
        assert gone(first)
        np.testing.assert_array_equal(pool.decode(EASY), decode(EASY, LIMITS))


def test_a_call_that_is_given_up_ends_its_child_alone(slow: bytes) -> None:
    with Decoders(2, LIMITS) as pool, ThreadPoolExecutor() as threads:
        call = DecodeCall()
        running = threads.submit(pool.decode, slow, 60, call)
        process = busy(pool)
        assert pool.decode(EASY).shape == (60, 80, 3)
        assert not gone(process)
        call.give_up()
        with pytest.raises(DeadlinePassed):
            running.result(30)
        assert gone(process)
        with pytest.raises(DeadlinePassed):
            pool.decode(EASY, 60, call)
        assert pool.decode(EASY).shape == (60, 80, 3)


@pytest.mark.parametrize("signal_number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL])
def test_a_child_that_breaks_down_costs_one_picture_and_a_line_of_the_log(
    slow: bytes, signal_number: int, caplog: pytest.LogCaptureFixture
) -> None:
    with Decoders(1, LIMITS) as pool, ThreadPoolExecutor() as threads:
        running = threads.submit(pool.decode, slow)
        os.kill(busy(pool), signal_number)
        with pytest.raises(BadImage, match="broke down") as raised:
            running.result(30)
        assert raised.value.figures == {"actual": len(slow)}
        (line,) = caplog.messages
        assert line.endswith(f"exit status {-signal_number}")
        assert pool.decode(EASY).shape == (60, 80, 3)


def test_a_child_that_ends_while_it_is_idle_costs_nothing(decoders: Decoders) -> None:
    decoders.decode(EASY)
    killed = children(decoders)
    for process in killed:
        os.kill(process, signal.SIGKILL)
    assert decoders.decode(EASY).shape == (60, 80, 3)
    assert not children(decoders) & killed


def test_memory_is_bounded_and_a_picture_that_takes_more_is_refused(decoders: Decoders) -> None:
    with Decoders(1, LIMITS) as pool:
        pool._memory = 2**26
        large = encoded(np.zeros((4000, 6000, 3), np.uint8))
        with pytest.raises(BadImage, match=r"67108864 bytes|can't be decoded"):
            pool.decode(large)
        assert pool.decode(EASY).shape == (60, 80, 3)
    assert decoders.decode(large).shape == (4000, 6000, 3)


def test_a_child_that_has_yet_to_start_is_taken_last(slow: bytes) -> None:
    with Decoders(2, LIMITS) as pool, ThreadPoolExecutor(2) as threads:
        first = threads.submit(pool.decode, slow)
        ended = busy(pool)
        pool.decode(EASY)
        (used,) = pool._idle
        os.kill(ended, signal.SIGKILL)
        with pytest.raises(BadImage):
            first.result()
        assert pool._idle[-1] is used
        assert len(pool._idle) == 2


def test_no_more_pictures_are_decoded_at_once_than_there_are_children(slow: bytes) -> None:
    with Decoders(1, LIMITS) as pool, ThreadPoolExecutor() as threads:
        call = DecodeCall()
        running = threads.submit(pool.decode, slow, 60, call)
        busy(pool)
        with pytest.raises(DeadlinePassed):
            pool.decode(EASY, seconds=0.1)
        waiting = threads.submit(pool.decode, EASY)
        call.give_up()
        assert waiting.result(30).shape == (60, 80, 3)
        assert isinstance(running.exception(30), DeadlinePassed)


def test_many_threads_get_their_own_pictures(decoders: Decoders) -> None:
    pictures = [encoded(np.full((20, 30, 3), i, np.uint8)) for i in range(60)]
    with ThreadPoolExecutor(8) as threads:
        for i, image in enumerate(threads.map(decoders.decode, pictures)):
            assert (image == i).all()


def test_closing_ends_what_runs(slow: bytes) -> None:
    pool = Decoders(1, LIMITS)
    pool.start()
    with ThreadPoolExecutor() as threads:
        running = threads.submit(pool.decode, slow)
        process = busy(pool)
        pool.close()
        assert isinstance(running.exception(30), DeadlinePassed)
        assert gone(process)
    with pytest.raises(DeadlinePassed):
        pool.decode(EASY)


def test_a_pool_that_nobody_has_any_more_leaves_no_process_behind() -> None:
    pool = Decoders(1, LIMITS)
    pool.decode(EASY)
    (process,) = children(pool)
    del pool
    until(lambda: gone(process))


@pytest.mark.parametrize("how", ["idle", "decoding"])
def test_a_child_does_not_outlive_a_parent_that_is_killed(
    slow: bytes, how: str, tmp_path: Path
) -> None:
    (tmp_path / "slow.jpg").write_bytes(slow)
    code = (
        "import sys, time, threading; from app.decoding.pool import Decoders;"
        "from weakpoints.options import Limits;"
        "pool = Decoders(1, Limits(max_scanned=10**15)); pool.start();"
        "print(pool._idle[0].process.pid, flush=True);"
        "data = open(sys.argv[1], 'rb').read();"
        + ("pool.decode(data, 300)" if how == "decoding" else "time.sleep(99)")
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path / "slow.jpg"], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    with parent.stdout:
        until(lambda: "cv2" in Path(f"/proc/{child}/maps").read_text())
        parent.kill()
        parent.wait()
    until(lambda: gone(child) or Path(f"/proc/{child}/stat").read_text().split()[2] == "Z")


def test_a_child_that_can_not_start_is_said_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with Decoders(1, LIMITS) as pool:
        with pytest.raises(Unavailable, match="can't start"):
            pool.decode(EASY)
        pool.start()
        with pytest.raises(Unavailable, match="can't start"):
            pool.wait()


def test_without_room_for_a_process_or_a_file_it_is_said_and_the_pool_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none(*_: object, **__: object) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    for where in ("handle.subprocess.Popen", "exchange.os.memfd_create"):
        with Decoders(1, LIMITS) as pool:
            with monkeypatch.context() as patch:
                patch.setattr(f"app.decoding.{where}", none)
                with pytest.raises(Unavailable, match="Too many open files"):
                    pool.decode(EASY)
            np.testing.assert_array_equal(pool.decode(EASY), decode(EASY, LIMITS))


def test_a_child_that_ends_where_no_other_can_be_started_leaves_its_place(
    slow: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object, **__: object) -> None:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    with Decoders(1, LIMITS) as pool:
        pool.start()
        pool.wait()
        with monkeypatch.context() as patch:
            patch.setattr("app.decoding.handle.subprocess.Popen", none)
            with pytest.raises(DeadlinePassed):
                pool.decode(slow, 0.5)
            assert not children(pool)
        np.testing.assert_array_equal(pool.decode(EASY), decode(EASY, LIMITS))


def test_a_pool_can_be_ready_before_the_first_picture() -> None:
    with Decoders(1, LIMITS) as pool:
        pool.start()
        pool.wait()
        before = children(pool)
        pool.decode(EASY)
        assert children(pool) == before
