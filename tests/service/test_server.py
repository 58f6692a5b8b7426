"""The process: slow headers, SIGTERM, what can't be loaded, a device that hangs."""

import gc
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from app.service import server
from app.settings import Settings
from tests.service import Held, picture, post, process, request_head, serving, until
from weakpoints.method.detector import Detector

END = signal.SIGTERM if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else signal.SIGHUP


def test_slow_headers_are_cut_off_and_quick_ones_are_not(detector: Detector) -> None:
    held = Held(detector.occluder, detector.model, detector.input)
    with serving(lambda: held, header_timeout=1) as client, ThreadPoolExecutor() as pool:
        answer = pool.submit(post, client, 90)
        connection, head = request_head(client, 10)
        connection.settimeout(30)
        for byte in head + bytes(b"x: y\r\n" * 1000):
            time.sleep(0.02)
            try:
                connection.send(bytes([byte]))
            except OSError:
                break
        else:
            pytest.fail("more than a minute of headers were taken")
        connection.close()
        held.gate.set()
        assert answer.result().status_code == 200, "a second is long for headers, not for an answer"


def test_signals_end_it_once_what_was_accepted_is_answered(tmp_path: Path) -> None:
    log, environment = tmp_path / "log", {"DRAIN_DELAY": "60", "STOP_TIMEOUT": "300"}
    with (
        process(log, **{f"WEAKPOINTS_{name}": value for name, value in environment.items()}) as (
            started,
            client,
        ),
        ThreadPoolExecutor(4) as pool,
    ):
        client.params = {"patch": 16, "stride": 4, "colours": 1}  # long enough to be seen waiting
        answers = [pool.submit(post, client, 90) for _ in range(3)]
        until(lambda: "weakpoints_queue_depth 2.0" in client.get("/metrics").text)
        started.send_signal(signal.SIGTERM)
        until(lambda: client.get("/readyz").status_code == 503)  # and it is still listening
        started.send_signal(END)  # ends the delay, and loses nothing
        assert [answer.result().status_code for answer in answers] == [200, 200, 200]
        assert started.wait(30) == 0, log.read_text()
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert sum(line.get("route") == "/detect" for line in lines) == 3


def test_a_signal_while_the_network_loads_ends_it_at_once(tmp_path: Path) -> None:
    """What loads hangs in a thread of its own, as a decoder might."""
    child = """
import threading
from app.service.http import signals
from app.service import server
from app.settings import Settings

def load():
    print("loading", flush=True)
    threading.Event().wait()

signals.leave(server.serve(Settings(port=0), load))
"""
    with subprocess.Popen(
        [sys.executable, "-c", child], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as started:
        assert started.stdout is not None
        assert started.stdout.readline() == "loading\n"
        started.send_signal(signal.SIGTERM)
        started.send_signal(signal.SIGTERM)
        _, stderr = started.communicate(timeout=60)
    assert started.returncode == 0, stderr
    assert "Traceback" not in stderr


def test_a_stop_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    child = """
import signal, threading
from app.service.http.signals import exit_in, leave_on_stop, on_stop

leave_on_stop()
signal.signal(signal.SIGHUP, signal.SIG_IGN)
on_stop(lambda number: exit_in(0.1, 3, "so long and no longer"))
signal.raise_signal(signal.SIGHUP)
print("ignored", flush=True)
signal.raise_signal(signal.SIGTERM)
threading.Event().wait()
"""
    done = subprocess.run(
        [sys.executable, "-c", child], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (3, "ignored\n")
    assert "so long and no longer" in done.stderr


def test_a_port_in_use_or_no_address_of_ours_is_one_sentence_and_exit_2(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert server.serve(Settings(port=port)) == 2
    (record,) = caplog.records
    assert (
        record.getMessage() == f"the service can't start: can't listen on 127.0.0.1, port {port}: "
        "Address already in use"
    )
    caplog.clear()
    assert server.serve(Settings(host="192.0.2.1", port=0)) == 2
    assert "can't listen on 192.0.2.1, port 0: Cannot assign" in caplog.text


def test_a_file_of_keys_that_is_missing_is_one_sentence_and_exit_2(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert server.serve(Settings(port=0, api_keys=tmp_path / "keys")) == 2
    (record,) = caplog.records
    assert "No such file" in record.getMessage()
    assert str(tmp_path / "keys") in record.getMessage()


def test_the_garbage_collector_passes_over_what_was_made_for_good() -> None:
    made: Any = object()
    try:
        assert server.load_and_freeze(lambda: made) is made
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()


def test_what_can_not_be_loaded_is_said_and_exits_1(tmp_path: Path) -> None:
    environment = os.environ | {"WEAKPOINTS_PORT": "0", "WEAKPOINTS_NETWORK": "nothing"}
    done = subprocess.run(
        [sys.executable, "-m", "weakpoints", "serve"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    (said,) = (line["message"] for line in lines if line["level"] == "critical")
    assert "nothing" in said
    assert not any("exception" in line for line in lines)


def test_a_device_that_hangs_does_not_keep_the_service_from_ending(
    detector: Detector, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("app.service.lifecycle.CLOSE_SECONDS", 0.3)
    held, before = (
        Held(detector.occluder, detector.model, detector.input),
        set(threading.enumerate()),
    )
    with serving(lambda: held, stop_timeout=1) as client:
        data = picture(90)
        connection, head = request_head(client, len(data))
        connection.sendall(head + data)
        until(lambda: 90 in held.seen)
    assert set(threading.enumerate()) > before, "the device hangs, and nobody waited for it"
    assert "did not stop" in caplog.text
    assert " 503 " in (answer := connection.recv(4096).decode())
    assert "the service stopped before this was done" in answer
    until(
        lambda: all(thread.daemon for thread in set(threading.enumerate()) - before)
    )  # what is left behind keeps no process from ending
    held.gate.set()
    connection.close()
