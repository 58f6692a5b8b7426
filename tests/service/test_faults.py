"""What goes wrong in production, each through a real socket."""

import threading
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from app.service import server
from app.service.intake.upload import UploadPace
from app.settings import Settings
from tests.service import Held, faulty, post, request_head, running, serving, until
from weakpoints.method.detector import Detector


def test_too_little_memory_is_503_and_the_service_goes_on(detector: Detector) -> None:
    with serving(lambda: faulty(detector)) as client:
        answer = post(client, 71)
        assert (answer.status_code, answer.json()["type"]) == (
            503,
            "urn:weakpoints:problem:out-of-memory",
        )
        assert int(answer.headers["retry-after"]) > 0
        assert "secret" not in answer.text
        assert post(client, 90).status_code == 200
        assert 'weakpoints_refused_total{reason="out-of-memory"} 1.0' in client.get("/metrics").text


def test_a_lost_device_ends_the_service(detector: Detector) -> None:
    run = server.Server(Settings(port=0), lambda: faulty(detector))
    thread = threading.Thread(target=run.run)
    thread.start()
    until(lambda: run.service.ready)
    port = run.servers[0].sockets[0].getsockname()[1]
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}") as client:
        answer = post(client, 72)
    assert (answer.status_code, answer.json()["type"]) == (
        503,
        "urn:weakpoints:problem:device-lost",
    )
    assert "secret" not in answer.text
    thread.join(60)
    assert not thread.is_alive()
    assert run.failed
    assert not run.service.alive


@pytest.mark.parametrize("bound", [{"upload_timeout": 0.3}, {"upload_grace": 0.3}])
def test_a_slow_upload_is_ended(detector: Detector, bound: dict[str, float]) -> None:
    with serving(lambda: detector, **bound) as client:
        connection, head = request_head(client, 1000)
        connection.sendall(head + b"\x89PNG")
        assert b" 408 " in connection.recv(4096)
        connection.close()


def test_what_has_come_of_a_body_gives_it_time() -> None:
    pace = UploadPace(grace=5, rate=1000, total=30)
    assert [pace.seconds(received) for received in (0, 1000, 20_000, 2**20)] == [5, 6, 25, 30]
    assert [pace.seconds(2**20, photographs) for photographs in (0, 1, 16)] == [30, 30, 480]


def test_uploads_at_the_same_time_are_bounded(detector: Detector) -> None:
    with running(lambda: detector, uploads=1) as (server, client):
        connection, head = request_head(client, 1000)
        connection.sendall(head)
        until(lambda: server.service.pipeline.uploads.borrowed_tokens == 1)
        answer = post(client, 90)
        assert (answer.status_code, answer.json()["limit"]) == (429, 1)
        connection.close()
        until(lambda: post(client, 90).status_code == 200)


def test_while_the_network_loads_the_service_is_alive_and_says_so(detector: Detector) -> None:
    gate = threading.Event()

    def load() -> Detector:
        gate.wait(60)
        return detector

    with serving(load, wait=False) as client:
        assert [
            client.get(path).status_code
            for path in ("/livez", "/startupz", "/readyz", "/v2/health/live", "/v2/health/ready")
        ] == [200, 503, 503, 200, 503]
        refused = post(client, 90)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
        assert client.get("/model").status_code == 503
        gate.set()
        until(lambda: client.get("/startupz").status_code == 200)
        assert post(client, 90).status_code == 200


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


@pytest.mark.parametrize("batch", [1, 4])
def test_a_bad_picture_among_those_that_wait_together_hurts_no_other(
    detector: Detector, batch: int
) -> None:
    held = Held(detector.occluder, detector.model, detector.input)
    with serving(lambda: held, batch=batch) as client, ThreadPoolExecutor(8) as pool:
        first = pool.submit(post, client, 90)
        until(lambda: 90 in held.seen)
        others = {width: pool.submit(post, client, width) for width in (80, 66, 81, 82)}
        until(lambda: "weakpoints_queue_depth 4.0" in client.get("/metrics").text)
        held.gate.set()
        answers = {width: future.result() for width, future in others.items()}
        assert first.result().status_code == 200
        sizes = client.get("/metrics").text
    assert ('weakpoints_batch_size_bucket{le="2.0"} 1.0' in sizes) == (batch == 4), (
        "the first alone, then four together"
    )
    assert {width: answer.status_code for width, answer in answers.items()} == {
        80: 200,
        66: 500,
        81: 200,
        82: 200,
    }
    assert all(answers[width].json()["image"]["width"] == width for width in (80, 81, 82))
