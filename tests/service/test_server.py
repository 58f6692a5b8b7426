"""The process: slow headers, SIGTERM, what can't be loaded, a device that hangs."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.method.detector import Detector
from app.service import server
from tests.service import Held, picture, post, process, request_head, serving, until


def test_slow_headers_are_cut_off_and_quick_ones_are_not(
    detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HEADERS", 0.3)
    held = Held(detector.occluder, detector.model, detector.input)
    with serving(lambda: held) as client, ThreadPoolExecutor() as pool:
        answer = pool.submit(post, client, 90)
        connection, head = request_head(client, 10)
        connection.settimeout(30)
        for byte in head[:40]:
            time.sleep(0.02)
            try:
                connection.send(bytes([byte]))
            except OSError:
                break
        assert connection.recv(100) == b""
        connection.close()
        held.gate.set()
        assert answer.result().status_code == 200, "0.8 s are long for headers, not for an answer"


def test_sigterm_answers_what_was_accepted_and_exits_0(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with (
        process(log, WEAKPOINTS_DRAIN_DELAY="2") as (started, client),
        ThreadPoolExecutor(4) as pool,
    ):
        answers = [pool.submit(post, client, 90) for _ in range(3)]
        until(lambda: "weakpoints_queue_depth 2.0" in client.get("/metrics").text)
        started.send_signal(signal.SIGTERM)
        until(
            lambda: client.get("/readyz").status_code == 503
        )  # not ready first, and still listening
        assert [answer.result().status_code for answer in answers] == [200, 200, 200]
        assert started.wait(30) == 0, log.read_text()
    assert '"route": "/detect", "status": 200' in log.read_text()


def test_what_can_not_be_loaded_is_said_and_exits_1(tmp_path: Path) -> None:
    environment = os.environ | {"WEAKPOINTS_PORT": "0", "WEAKPOINTS_NETWORK": "nothing"}
    done = subprocess.run(
        [sys.executable, "-m", "app.cli", "serve"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "nothing" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_device_that_hangs_does_not_keep_the_service_from_ending(
    detector: Detector, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("app.service.state.LAST", 0.3)
    held, before = (
        Held(detector.occluder, detector.model, detector.input),
        set(threading.enumerate()),
    )
    with serving(lambda: held, stop_timeout=1) as client:
        data = picture(90)
        connection, head = request_head(client, len(data))
        connection.sendall(head + data)
        until(lambda: 90 in held.seen)
        start = time.monotonic()
    assert time.monotonic() - start < 10
    assert "did not stop" in caplog.text
    assert " 503 " in (answer := connection.recv(4096).decode())
    assert "the service stopped before this was done" in answer
    until(
        lambda: all(thread.daemon for thread in set(threading.enumerate()) - before), 5
    )  # what is left behind keeps no process from ending
    held.gate.set()
    connection.close()
