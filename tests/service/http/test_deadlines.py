"""Callers that hang up, at each stage, or set a deadline."""

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import httpx2
import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from app.decoding import pool
from app.decoding.handle import Child
from app.decoding.pool import Decoders
from app.service.api import heatmap
from app.service.http.deadlines import deadline
from app.settings import Settings
from tests.service import (
    Held,
    dropped,
    faulty,
    picture,
    post,
    request_head,
    running,
    serving,
    slow_picture,
    until,
)
from weakpoints.errors import DeadlinePassed
from weakpoints.method.detector import Detector
from weakpoints.method.render import heatmap_png
from weakpoints.options import Limits

ServiceOf = Callable[..., AbstractContextManager[tuple[httpx2.Client, Decoders]]]


@pytest.fixture
def service_of(monkeypatch: pytest.MonkeyPatch) -> ServiceOf:
    """A service and its pool of decoders."""
    pools: list[Decoders] = []

    class Noted(Decoders):
        def __init__(self, most: int, limits: Limits) -> None:
            super().__init__(most, limits)
            pools.append(self)

    monkeypatch.setattr("app.service.lifecycle.Decoders", Noted)

    @contextmanager
    def service(detector: Detector, **settings: object) -> Iterator[tuple[httpx2.Client, Decoders]]:
        with serving(lambda: detector, **settings) as client:
            yield client, pools[-1]

    return service


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


def test_who_asks_for_the_default_passes_a_dear_request(detector: Detector) -> None:
    slow = faulty(detector)
    with serving(lambda: slow, proxies=["127.0.0.1"]) as client:
        data = picture(70)
        greedy, head = request_head(client, len(data))
        greedy.sendall(head.replace(b"/detect", b"/detect?stride=1&patch=14") + data)
        until(lambda: slow.chunks)
        modest = post(client, 80, **{"x-forwarded-for": "203.0.113.7"})
        assert modest.status_code == 200
        assert not slow.stopped.is_set()
        greedy.close()
        assert slow.stopped.wait(30)


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
        answer = post(client, 70, **{"x-request-timeout": "1"})
        assert answer.status_code == 504
        assert answer.json()["type"] == "urn:weakpoints:problem:deadline-passed"
        assert slow.stopped.wait(30)
        for wrong in ("soon", "-1", "nan", "0"):
            assert post(client, 90, **{"x-request-timeout": wrong}).status_code == 400
        assert post(client, 90).status_code == 200


@pytest.fixture
def drawing(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[threading.Event, threading.Event]]:
    """Drawing has begun; and it may end, which it waits for."""
    begun, gate = threading.Event(), threading.Event()

    def draw(*given: Any, **options: Any) -> Any:
        begun.set()
        assert gate.wait(60)
        return heatmap_png(*given, **options)

    monkeypatch.setattr(heatmap, "heatmap_png", draw)
    yield begun, gate
    gate.set()


def test_drawing_that_outlives_the_deadline_is_504_and_keeps_its_slot_and_pixels_until_its_end(
    detector: Detector, drawing: tuple[threading.Event, threading.Event]
) -> None:
    begun, gate = drawing
    with running(lambda: detector, decoders=1) as (server, client):
        kind = {"content-type": "image/png"}
        for seconds in ("0.5", "4", "30"):  # however long it takes until it is drawn
            headers = kind | {"x-request-timeout": seconds}
            answer = client.post("/heatmap", content=picture(90), headers=headers)
            if begun.is_set():
                break
        assert (answer.status_code, answer.json()["title"]) == (504, "Deadline passed")
        queue = server.service.pipeline.worker._queue
        assert queue._held == 90 * 60
        assert post(client, 91, **{"x-request-timeout": "0.2"}).status_code == 504, (
            "no slot is free"
        )
        gate.set()
        until(lambda: not queue._held)
        assert post(client, 92).status_code == 200


def test_a_caller_that_hangs_up_while_its_heatmap_is_drawn_is_given_up(
    detector: Detector, drawing: tuple[threading.Event, threading.Event]
) -> None:
    begun, gate = drawing
    with serving(lambda: detector) as client:
        data = picture(90)
        connection, head = request_head(client, len(data))
        connection.sendall(head.replace(b"/detect", b"/heatmap?patch=14&stride=14") + data)
        assert begun.wait(30)
        connection.close()
        until(lambda: dropped(client) == {"disconnect": 1})
        gate.set()


def test_hang_ups_during_decoding_keep_the_loop_from_nobody(
    detector: Detector, many_scans: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of a child may take long: to free what it holds is the system's work.

    Here none ends before the loop has gone on: it ticks.
    """
    ended: list[Child] = []
    may_end = threading.Event()

    class LateToEnd(Child):
        def __init__(self, memory: int) -> None:
            super().__init__(memory)
            wait = self.process.wait

            def wait_long(*given: Any) -> int:
                ended.append(self)
                may_end.wait(90)
                return wait(*given)

            self.process.wait = wait_long  # type: ignore[method-assign, assignment]

    monkeypatch.setattr(pool, "Child", LateToEnd)
    ticks: list[int] = []

    async def tick() -> None:
        while True:
            ticks.append(len(ticks))
            await asyncio.sleep(0.01)

    with running(lambda: detector, decoders=3) as (server, client):
        loops = server.servers[0].get_loop()
        decoders = server.service.decoding
        ticking = asyncio.run_coroutine_threadsafe(tick(), loops)
        for hung_up in range(1, 3):
            connection, head = request_head(client, len(many_scans))
            connection.sendall(head + many_scans)
            until(lambda: any(child.began for child in decoders._busy if child not in ended))
            connection.close()
            until(lambda hung_up=hung_up: dropped(client) == {"disconnect": hung_up})
            until(lambda hung_up=hung_up: len(ended) == hung_up)
            before = len(ticks)
            until(lambda before=before: len(ticks) > before + 2)
        may_end.set()
        until(lambda: not decoders._busy)
        ticking.cancel()


@pytest.fixture
def many_scans(monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Half a minute to decode, within the limits, and large."""
    limits = Limits(max_scanned=4 * 10**10)
    monkeypatch.setattr(Settings, "limits", property(lambda settings: limits))
    return slow_picture()


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
def test_a_caller_that_hangs_up_while_its_picture_is_decoded_ends_the_decoding(
    detector: Detector, many_scans: bytes, accept: str, service_of: ServiceOf
) -> None:
    held = Held(detector.occluder, detector.model, detector.input)
    held.gate.set()
    with service_of(held, decoders=1) as (client, pool):
        connection, head = request_head(client, len(many_scans), accept)
        connection.sendall(head + many_scans)
        until(lambda: any(child.began for child in pool._busy))
        (child,) = pool._busy
        connection.close()
        until(lambda: dropped(client) == {"disconnect": 1})
        assert not child.alive
        assert post(client, 92).status_code == 200
        assert held.seen == [64, 92]


def test_a_small_picture_whose_caller_hangs_up_is_decoded_to_its_end_by_a_child_that_stays(
    detector: Detector, service_of: ServiceOf
) -> None:
    held = Held(detector.occluder, detector.model, detector.input)
    held.gate.set()
    few_scans = slow_picture(30)
    with service_of(held, decoders=1) as (client, pool):
        (child,) = pool._idle
        connection, head = request_head(client, len(few_scans))
        connection.sendall(head + few_scans)
        until(lambda: child.began)
        connection.close()
        until(lambda: dropped(client) == {"disconnect": 1})
        assert pool._idle == [child]
        assert child.alive
        assert held.seen == [64]


def test_a_deadline_that_passes_while_decoding_costs_no_device_time(
    detector: Detector, many_scans: bytes
) -> None:
    held = Held(detector.occluder, detector.model, detector.input)
    held.gate.set()
    with serving(lambda: held, decoders=1) as client:
        headers = {"content-type": "image/jpeg", "x-request-timeout": "0.5"}
        answer = client.post("/detect", content=many_scans, headers=headers)
        assert (answer.status_code, answer.json()["title"]) == (504, "Deadline passed")
        assert dropped(client) == {"deadline": 1}
        assert post(client, 92).status_code == 200
        assert held.seen == [64, 92]


def test_a_picture_that_breaks_its_decoder_down_is_refused_and_the_next_is_not(
    detector: Detector, many_scans: bytes, service_of: ServiceOf
) -> None:
    with service_of(detector, decoders=1) as (client, pool), ThreadPoolExecutor() as threads:
        headers = {"content-type": "image/jpeg"}
        broken = threads.submit(client.post, "/detect", content=many_scans, headers=headers)
        until(lambda: any(child.began for child in pool._busy))
        for child in pool._busy:
            os.kill(child.process.pid, signal.SIGSEGV)
        assert broken.result().status_code == 422
        assert "broke down" in broken.result().json()["detail"]
        assert post(client, 92).status_code == 200


def request(*messages: str, timeout: str = "30") -> Request:
    """A request whose connection says these messages, and then nothing more."""
    left = list(messages)

    async def receive() -> Message:
        if not left:
            await asyncio.Event().wait()
        return {"type": left.pop(0)}

    headers = [(b"x-request-timeout", timeout.encode())]
    return Request({"type": "http", "headers": headers}, receive)


def test_a_body_that_takes_too_long_is_cancelled() -> None:
    async def body() -> None:
        async with deadline(request(timeout="0.01"), 60) as caller:
            caller.watch()
            await asyncio.Event().wait()

    with pytest.raises(DeadlinePassed):
        asyncio.run(body())


def test_a_body_whose_caller_hangs_up_is_cancelled_once_it_is_watched() -> None:
    reached: list[str] = []

    async def body() -> None:
        async with deadline(request("http.request", "http.disconnect"), 60) as caller:
            await asyncio.sleep(0)
            reached.append("unwatched")
            caller.watch()
            await asyncio.Event().wait()

    with pytest.raises(ClientDisconnect):
        asyncio.run(body())
    assert reached == ["unwatched"]


def test_errors_and_results_pass_a_deadline_and_its_watcher_ends_with_it() -> None:
    async def work(error: type[Exception] | None) -> int:
        async with deadline(request(), 60) as caller:
            caller.watch()
            if error:
                raise error
        return 7

    async def body() -> int:
        assert await work(None) == 7
        with pytest.raises(KeyError):
            await work(KeyError)
        await asyncio.sleep(0)
        return len(asyncio.all_tasks())

    assert asyncio.run(body()) == 1
