"""What goes wrong in production, each through a real socket."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import numpy as np
import pytest
import torch

from app import server
from app.cache import Cache, key
from app.options import choose
from app.pipeline import Detector, Localization, Progress, Seen
from tests.service import Held, encoded, serving

HOLD = {"queue_size": 4}


@dataclass(frozen=True)
class Faulty(Detector):
    """Does by the photograph's width: 70 waits chunk after chunk, 71 lacks memory, 72 loses the device."""

    chunks: list[int] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)

    def _finish(self, seen: Seen, progress: Progress) -> Localization:
        match seen.prepared.image.shape[1]:
            case 70:
                try:
                    while True:
                        time.sleep(0.01)
                        self.chunks.append(1)
                        progress(1, 2)
                finally:
                    self.stopped.set()
            case 71:
                raise torch.OutOfMemoryError("secret")
            case 72:
                raise torch.AcceleratorError("secret")
        return super()._finish(seen, progress)


def faulty(detector: Detector) -> Faulty:
    return Faulty(detector.occluder, detector.model, detector.input)


def picture(width: int) -> bytes:
    return encoded(np.random.default_rng(width).integers(0, 255, (60, width, 3), np.uint8))


def post(client: httpx2.Client, width: int, **headers: str) -> httpx2.Response:
    return client.post("/detect", content=picture(width), headers={"content-type": "image/png", **headers})


def request_head(client: httpx2.Client, length: int) -> tuple[socket.socket, bytes]:
    connection = socket.create_connection((client.base_url.host, client.base_url.port))
    return connection, f"POST /detect HTTP/1.1\r\nhost: x\r\ncontent-type: image/png\r\ncontent-length: {length}\r\n\r\n".encode()


def test_a_caller_that_hangs_up_in_the_middle_of_an_occlusion_stops_it(detector: Detector) -> None:
    slow = faulty(detector)
    with serving(lambda: slow) as client:
        data = picture(70)
        connection, head = request_head(client, len(data))
        connection.sendall(head + data)
        while not slow.chunks:
            time.sleep(0.01)
        connection.close()
        assert slow.stopped.wait(5)
        assert post(client, 90).status_code == 200


def test_a_caller_that_hangs_up_while_it_waits_is_never_looked_at(detector: Detector) -> None:
    held = Held(detector.occluder, detector.model, detector.input)
    with serving(lambda: held) as client, ThreadPoolExecutor() as pool:
        first = pool.submit(post, client, 90)
        while 90 not in held.seen:
            time.sleep(0.01)
        data = picture(91)
        connection, head = request_head(client, len(data))
        connection.sendall(head + data)
        while "weakpoints_queue_depth 1.0" not in client.get("/metrics").text:
            time.sleep(0.01)
        connection.close()
        time.sleep(0.2)
        held.gate.set()
        assert first.result().status_code == 200
        assert post(client, 92).status_code == 200
        assert 91 not in held.seen


def test_a_deadline_is_kept_waiting_or_running(detector: Detector) -> None:
    slow = faulty(detector)
    with serving(lambda: slow) as client:
        start = time.perf_counter()
        answer = post(client, 70, **{"x-request-timeout": "0.3"})
        assert answer.status_code == 504
        assert answer.json()["type"] == "urn:weakpoints:problem:deadline-passed"
        assert time.perf_counter() - start < 3
        assert slow.stopped.wait(5)
        for wrong in ("soon", "-1", "nan", "0"):
            assert post(client, 90, **{"x-request-timeout": wrong}).status_code == 400
        assert post(client, 90).status_code == 200


def test_too_little_memory_is_503_and_the_service_goes_on(detector: Detector) -> None:
    with serving(lambda: faulty(detector)) as client:
        answer = post(client, 71)
        assert (answer.status_code, answer.json()["type"]) == (503, "urn:weakpoints:problem:out-of-memory")
        assert int(answer.headers["retry-after"]) > 0
        assert "secret" not in answer.text
        assert post(client, 90).status_code == 200
        assert 'weakpoints_refused_total{reason="out-of-memory"} 1.0' in client.get("/metrics").text


def test_a_lost_device_ends_the_service(detector: Detector) -> None:
    run = server.Server(server.Settings(port=0), lambda: faulty(detector))
    thread = threading.Thread(target=run.run)
    thread.start()
    while not run.service.ready:
        time.sleep(0.01)
    port = run.servers[0].sockets[0].getsockname()[1]
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}") as client:
        answer = post(client, 72)
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:weakpoints:problem:device-lost")
    assert "secret" not in answer.text
    thread.join(20)
    assert not thread.is_alive()
    assert run.failed
    assert not run.service.alive


def test_a_slow_upload_is_ended(detector: Detector) -> None:
    with serving(lambda: detector, upload_timeout=0.3) as client:
        connection, head = request_head(client, 1000)
        connection.sendall(head + b"\x89PNG")
        assert b" 408 " in connection.recv(4096)
        connection.close()


def test_slow_headers_are_cut_off_and_quick_ones_are_not(detector: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEADERS", 0.3)
    held = Held(detector.occluder, detector.model, detector.input)
    with serving(lambda: held) as client, ThreadPoolExecutor() as pool:
        answer = pool.submit(post, client, 90)
        connection, head = request_head(client, 10)
        connection.settimeout(5)
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


def test_uploads_at_the_same_time_are_bounded(detector: Detector) -> None:
    with serving(lambda: detector, uploads=1) as client:
        connection, head = request_head(client, 1000)
        connection.sendall(head)
        time.sleep(0.3)  # it has to have come first
        answer = post(client, 90)
        assert (answer.status_code, answer.json()["limit"]) == (429, 1)
        connection.close()
        for _ in range(100):
            if (answer := post(client, 90)).status_code == 200:
                break
        assert answer.status_code == 200


def test_while_the_network_loads_the_service_is_alive_and_says_so(detector: Detector) -> None:
    gate = threading.Event()

    def load() -> Detector:
        gate.wait(10)
        return detector

    with serving(load, wait=False) as client:
        assert [client.get(path).status_code for path in ("/livez", "/startupz", "/readyz", "/v2/health/live", "/v2/health/ready")] == [
            200, 503, 503, 200, 503
        ]  # fmt: skip
        refused = post(client, 90)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
        assert client.get("/model").status_code == 503
        gate.set()
        while client.get("/startupz").status_code != 200:
            time.sleep(0.01)
        assert post(client, 90).status_code == 200


def test_keys_are_checked_and_read_again_and_the_probes_need_none(detector: Detector, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("# ours\nalpha\nbeta\n")
    with serving(lambda: detector, api_keys=keys) as client:
        refused = post(client, 90)
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
        assert post(client, 90, authorization="Bearer gamma").status_code == 401
        assert post(client, 90, authorization="Bearer").status_code == 401
        assert post(client, 90, authorization="Bearer # ours").status_code == 401
        assert post(client, 90, authorization="bearer beta").status_code == 200
        assert post(client, 90, **{"x-api-key": "alpha"}).status_code == 200
        keys.write_text("gamma-gamma\n")
        assert post(client, 90, **{"x-api-key": "alpha"}).status_code == 401
        assert post(client, 90, **{"x-api-key": "gamma-gamma"}).status_code == 200
        keys.unlink()
        assert post(client, 90, **{"x-api-key": "gamma-gamma"}).status_code == 401
        assert client.get("/model").status_code == 401
        assert client.get("/livez").status_code == client.get("/metrics").status_code == 200


def test_answers_carry_their_timing_and_safe_headers_and_are_counted(detector: Detector) -> None:
    with serving(lambda: detector) as client:
        answer = post(client, 90)
        assert "occlusion;dur=" in answer.headers["server-timing"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "server" not in answer.headers
        client.get("/nowhere/at/all")
        text = client.get("/metrics").text
    assert 'weakpoints_request_seconds_count{route="/detect",status="200"} 1.0' in text
    assert 'weakpoints_request_seconds_count{route="unmatched",status="404"} 1.0' in text
    assert 'weakpoints_stage_seconds_count{stage="occlusion"} 1.0' in text
    assert "weakpoints_ready 1.0" in text


def test_sigterm_answers_what_was_accepted_and_exits_0(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = os.environ | {"WEAKPOINTS_PORT": str(port), "WEAKPOINTS_DRAIN_DELAY": "0.5"}
    with log.open("w") as stderr:
        process = subprocess.Popen([sys.executable, "-m", "app.cli", "serve"], env=environment, stderr=stderr)
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client, ThreadPoolExecutor(4) as pool:
        deadline = time.monotonic() + 60
        while True:
            try:
                if client.get("/readyz").status_code == 200:
                    break
            except httpx2.TransportError:
                assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        answers = [pool.submit(post, client, 90) for _ in range(3)]
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.1)
        assert client.get("/readyz").status_code == 503, "not ready first, and still listening"
        assert [answer.result().status_code for answer in answers] == [200, 200, 200]
    assert process.wait(30) == 0, log.read_text()
    assert '"route": "/detect", "status": 200' in log.read_text()


def test_what_can_not_be_loaded_is_said_and_exits_1(tmp_path: Path) -> None:
    environment = os.environ | {"WEAKPOINTS_PORT": "0", "WEAKPOINTS_NETWORK": "nothing"}
    done = subprocess.run(
        [sys.executable, "-m", "app.cli", "serve"], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "nothing" in done.stderr
    assert "Traceback" not in done.stderr


def events(text: str) -> list[tuple[str, dict[str, object]]]:
    blocks = [block.split("\n") for block in text.split("\n\n") if block and not block.startswith(":")]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in blocks]


STREAM = {"accept": "text/event-stream"}


def test_a_stream_tells_its_progress_and_ends_with_the_same_answer(detector: Detector) -> None:
    with serving(lambda: detector, cache_bytes=0) as client:
        plain = post(client, 90).json()
        answer = post(client, 90, **STREAM)
        assert answer.headers["content-type"].startswith("text/event-stream")
        found = events(answer.text)
        assert [name for name, _ in found[:-1]] == ["progress"] * (len(found) - 1)
        assert found[0][1] == {"stage": "queue", "done": 0, "total": 1}
        assert found[-2][1] == {"stage": "occlusion", "done": 32, "total": 32}
        assert found[-1][0] == "result"
        assert found[-1][1]["keypoints"] == plain["keypoints"]


def test_what_fails_within_a_stream_is_its_last_event_and_before_it_a_status(detector: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = faulty(detector)
    with serving(lambda: slow) as client:
        assert client.post("/detect", content=b"GIF89a", headers={"content-type": "image/png", **STREAM}).status_code == 415
        name, body = events(post(client, 71, **STREAM).text)[-1]
        assert (name, body["status"], body["type"]) == ("error", 503, "urn:weakpoints:problem:out-of-memory")
        name, body = events(post(client, 70, **STREAM, **{"x-request-timeout": "0.3"}).text)[-1]
        assert (name, body["status"]) == ("error", 504)
        assert slow.stopped.wait(5)
        monkeypatch.setattr(Faulty, "_finish", lambda *args: 1 / 0)
        name, body = events(post(client, 91, **STREAM).text)[-1]
        assert (name, body["status"]) == ("error", 500)
        assert "zero" not in str(body)


def test_a_caller_that_hangs_up_a_stream_stops_the_work(detector: Detector) -> None:
    slow = faulty(detector)
    with serving(lambda: slow) as client:
        with client.stream("POST", "/detect", content=picture(70), headers={"content-type": "image/png", **STREAM}) as answer:
            assert "queue" in next(answer.iter_text())
        assert slow.stopped.wait(5)


def test_the_same_photograph_is_looked_at_once(detector: Detector) -> None:
    with serving(lambda: detector) as client:
        first, again = post(client, 90), post(client, 90)
        assert (first.headers["cache-status"], again.headers["cache-status"]) == ("weakpoints; fwd=miss", "weakpoints; hit")
        assert first.json()["keypoints"] == again.json()["keypoints"]
        assert first.json()["id"] != again.json()["id"]
        png = client.post("/heatmap", content=picture(90), headers={"content-type": "image/png"})
        assert png.headers["cache-status"] == "weakpoints; hit"
        other = client.post("/detect", content=picture(90), headers={"content-type": "image/png"}, params={"seed": 1})
        assert other.headers["cache-status"] == "weakpoints; fwd=miss"


def test_the_cache_keeps_to_its_bytes_and_drops_what_was_not_asked_for_longest(detector: Detector, photograph: np.ndarray) -> None:
    found = detector.locate(photograph, choose(patch=14, stride=14))
    size = 3 * 56 * 56 * 8
    cache = Cache(2 * size)
    one, two, three = (key(bytes([i]), choose()) for i in range(3))
    cache.put(one, found)
    cache.put(one, found)
    cache.put(two, found)
    assert cache.get(one) is found
    cache.put(three, found)
    assert (cache.get(one), cache.get(two), cache.get(three)) == (found, None, found)
    nothing = Cache(0)
    nothing.put(one, found)
    assert nothing.get(one) is None
