"""Callers that hang up, at each stage, or set a deadline."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from app.method.detector import Detector
from app.method.image import decode
from app.options import Limits
from tests.service import Held, dropped, faulty, picture, post, request_head, serving, until


def test_a_caller_that_hangs_up_in_the_middle_of_an_occlusion_stops_it(detector: Detector) -> None:
    slow = faulty(detector)
    with serving(lambda: slow) as client:
        data = picture(70)
        connection, head = request_head(client, len(data))
        connection.sendall(head + data)
        until(lambda: slow.chunks)
        connection.close()
        assert slow.stopped.wait(30)
        assert post(client, 90).status_code == 200


def test_a_caller_that_hangs_up_while_it_waits_is_never_looked_at(detector: Detector) -> None:
    held = Held(detector.occluder, detector.model, detector.input)
    with serving(lambda: held) as client, ThreadPoolExecutor() as pool:
        first = pool.submit(post, client, 90)
        until(lambda: 90 in held.seen)
        data = picture(91)
        connection, head = request_head(client, len(data))
        connection.sendall(head + data)
        until(lambda: "weakpoints_queue_depth 1.0" in client.get("/metrics").text)
        connection.close()
        until(lambda: dropped(client) == {"disconnect": 1})
        held.gate.set()
        assert first.result().status_code == 200
        assert post(client, 92).status_code == 200
        assert 91 not in held.seen


def test_a_deadline_is_kept_waiting_or_running(detector: Detector) -> None:
    slow = faulty(detector)
    with serving(lambda: slow) as client:
        start = time.perf_counter()
        answer = post(client, 70, **{"x-request-timeout": "1"})
        assert answer.status_code == 504
        assert answer.json()["type"] == "urn:weakpoints:problem:deadline-passed"
        assert time.perf_counter() - start < 3
        assert slow.stopped.wait(30)
        for wrong in ("soon", "-1", "nan", "0"):
            assert post(client, 90, **{"x-request-timeout": wrong}).status_code == 400
        assert post(client, 90).status_code == 200


def test_a_caller_that_hangs_up_while_its_picture_is_decoded_is_never_looked_at(
    detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoding, gate = threading.Event(), threading.Event()

    def slow(data: bytes, limits: Limits) -> np.ndarray:
        decoding.set()
        gate.wait(10)
        return decode(data, limits)

    held = Held(detector.occluder, detector.model, detector.input)
    held.gate.set()
    monkeypatch.setattr("app.service.state.decode", slow)
    with serving(lambda: held) as client:
        for given_up, accept in enumerate(("application/json", "text/event-stream"), 1):
            decoding.clear()
            gate.clear()
            data = picture(91)
            connection, head = request_head(client, len(data), accept)
            connection.sendall(head + data)
            assert decoding.wait(30)
            connection.close()
            time.sleep(0.5)  # it is seen at once, and told once the picture is decoded
            gate.set()
            until(lambda: dropped(client) == {"disconnect": given_up})  # noqa: B023
            assert post(client, 92).status_code == 200
        assert 91 not in held.seen


def test_a_deadline_that_passes_while_decoding_costs_no_device_time(
    detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(data: bytes, limits: Limits) -> np.ndarray:
        time.sleep(0.3)
        return decode(data, limits)

    held = Held(detector.occluder, detector.model, detector.input)
    monkeypatch.setattr("app.service.state.decode", slow)
    with serving(lambda: held) as client:
        assert post(client, 91, **{"x-request-timeout": "0.2"}).status_code == 504
        assert held.seen == [64]
        assert dropped(client) == {"deadline": 1}
