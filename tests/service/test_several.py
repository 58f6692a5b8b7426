"""Several photographs in one request: each is answered or refused as if it came alone."""

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from tests.service import Held, dropped, faulty, picture, post, running, serving, until
from weakpoints.method.detector import Detector

LINES = {"accept": "application/x-ndjson"}
Photograph = tuple[str, bytes]


def named(*widths: int) -> list[Photograph]:
    return [(f"{width}.png", picture(width)) for width in widths]


def send(
    client: httpx2.Client, photographs: list[Photograph], path: str = "/detect", **headers: str
) -> httpx2.Response:
    files = [("image", (name, data, "image/png")) for name, data in photographs]
    return client.post(path, files=files, headers=headers)


def lines(answer: httpx2.Response) -> list[dict[str, Any]]:
    return [json.loads(line) for line in answer.text.splitlines()]


def statuses(results: list[dict[str, Any]]) -> list[int]:
    """200 for what is answered; that of its problem for what is not."""
    return [each["problem"]["status"] if "problem" in each else 200 for each in results]


def connected(client: httpx2.Client, photographs: list[Photograph], accept: str) -> socket.socket:
    """A caller who has sent them and may hang up."""
    files = [("image", (name, data, "image/png")) for name, data in photographs]
    asked = client.build_request("POST", "/detect", files=files, headers={"accept": accept})
    head = [f"POST {asked.url.raw_path.decode()} HTTP/1.1"]
    head += [f"{name}: {value}" for name, value in asked.headers.items()]
    connection = socket.create_connection((client.base_url.host, client.base_url.port))
    connection.sendall("\r\n".join([*head, "", ""]).encode() + asked.read())
    return connection


def test_results_have_the_order_of_the_photographs_and_each_is_as_if_it_were_alone(
    detector: Detector,
) -> None:
    with serving(lambda: detector, cache_bytes=0) as client:
        answer = send(client, named(92, 90, 91))
        assert answer.headers["content-type"] == "application/json"
        results = answer.json()["results"]
        assert list(results[0])[:2] == ["index", "filename"]
        for index, width in enumerate((92, 90, 91)):
            alone, found = post(client, width).json(), results[index]
            assert (found.pop("index"), found.pop("filename")) == (index, f"{width}.png")
            assert found["id"] == answer.headers["x-request-id"]
            assert set(found) == set(alone)
            assert set(found["timing_ms"]) == set(alone["timing_ms"])
            for same in ("image", "keypoints", "options", "prediction"):
                assert found[same] == alone[same]


def test_one_photograph_is_answered_as_ever_unless_lines_are_asked_for(detector: Detector) -> None:
    with serving(lambda: detector) as client:
        assert "results" not in send(client, named(90)).json()
        assert send(client, [("a", b"%PDF-1.7")]).status_code == 415
        (line,) = lines(send(client, named(90), **LINES))
        assert (line["index"], line["filename"], line["image"]["width"]) == (0, "90.png", 90)
        raw = client.post(
            "/detect", content=picture(90), headers={"content-type": "image/png", **LINES}
        )
        assert [each["filename"] for each in lines(raw)] == [None]
        assert statuses(lines(send(client, [("a", b"%PDF-1.7")], **LINES))) == [415]


def test_each_photograph_is_refused_by_itself(detector: Detector) -> None:
    held = Held(detector.occluder, detector.model, detector.input)
    held.gate.set()
    photographs = [
        *named(90),
        ("text.jpg", b"just some text"),
        ("empty.jpg", b""),
        ("large.jpg", bytes(60_001)),
        *named(66),  # which the device fails on
        *named(91),
    ]
    with serving(lambda: held, max_bytes=60_000) as client:
        answer = send(client, photographs)
        results = answer.json()["results"]
        assert answer.status_code == 200
        assert statuses(results) == [200, 415, 400, 413, 500, 200]
        assert [each["filename"] for each in results] == [name for name, _ in photographs]
        assert results[3]["problem"]["limit"] == 60_000
        assert results[1]["problem"]["request_id"] == answer.headers["x-request-id"]
        assert "secret" not in answer.text
        text = client.get("/metrics").text
        for reason in ("unsupported-media-type", "malformed-request", "too-large"):
            assert f'weakpoints_refused_total{{reason="{reason}"}} 1.0' in text


def test_a_line_comes_as_soon_as_it_is_known(detector: Detector) -> None:
    held = Held(detector.occluder, detector.model, detector.input)
    held.gate.set()
    with serving(lambda: held) as client:
        post(client, 91)  # from now on the cache knows it
        held.gate.clear()
        files = [("image", (name, data, "image/png")) for name, data in named(90, 91)]
        with client.stream("POST", "/detect", files=files, headers=LINES) as answer:
            assert answer.headers["content-type"] == "application/x-ndjson"
            assert answer.headers["x-accel-buffering"] == "no"
            came = answer.iter_lines()
            assert json.loads(next(came))["index"] == 1
            held.gate.set()
            assert json.loads(next(came))["index"] == 0
            assert list(came) == []


@pytest.mark.parametrize("accept", ["application/json", "application/x-ndjson"])
def test_what_is_wrong_with_the_whole_request_has_a_status(detector: Detector, accept: str) -> None:
    with serving(lambda: detector, max_images=3, max_bytes=60_000) as client:
        many = send(client, named(90, 91, 92, 93), accept=accept)
        assert (many.status_code, many.json()["limit"], many.json()["actual"]) == (413, 3, 4)
        large = send(client, [("a", bytes(200_000))], accept=accept)
        assert (large.status_code, large.json()["limit"]) == (413, 180_000)
        wrong = client.post(
            "/detect",
            params={"target_class": "unicorn"},
            files=[("image", (name, data)) for name, data in named(90, 91)],
            headers={"accept": accept},
        )
        assert (wrong.status_code, wrong.json()["option"]) == (422, "target_class")
        kind = {"content-type": "multipart/form-data; boundary=x", "accept": accept}
        part = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
        cut = client.post("/detect", content=(part + picture(90) + b"\r\n") * 2, headers=kind)
        assert cut.status_code == 400
        assert "cut short" in cut.json()["detail"]


def test_where_one_photograph_is_expected_two_are_refused(detector: Detector) -> None:
    with serving(lambda: detector) as client:
        for path, accept in (("/heatmap", "*/*"), ("/detect", "text/event-stream")):
            answer = send(client, named(90, 91), path, accept=accept)
            assert (answer.status_code, answer.json()["limit"]) == (400, 1)
            assert "one photograph is expected" in answer.json()["detail"]


def test_a_full_queue_takes_some_and_refuses_the_others(detector: Detector) -> None:
    held = Held(detector.occluder, detector.model, detector.input)
    with serving(lambda: held, queue_size=1) as client, ThreadPoolExecutor() as pool:
        first = pool.submit(post, client, 90)
        until(lambda: 90 in held.seen)
        several = pool.submit(send, client, named(91, 92, 93))
        refusals = 'weakpoints_refused_total{reason="queue-full"} 2.0'
        until(lambda: refusals in client.get("/metrics").text)
        held.gate.set()
        results = several.result().json()["results"]
        assert sorted(statuses(results)) == [200, 429, 429]
        assert all(each["problem"]["retry_after"] >= 1 for each in results if "problem" in each)
        assert first.result().status_code == 200


def test_each_photograph_has_a_place_among_the_uploads_until_it_is_decoded(
    detector: Detector,
) -> None:
    held = Held(detector.occluder, detector.model, detector.input)
    with (
        running(lambda: held, uploads=2) as (server, client),
        ThreadPoolExecutor() as pool,
    ):
        several = pool.submit(send, client, named(90, 91, 92))
        until(lambda: held.seen[1:] and server.service.pipeline.worker.waiting == 1)
        assert server.service.pipeline.uploads.borrowed_tokens == 0
        held.gate.set()
        results = several.result().json()["results"]
        assert statuses(results) == [200, 200, 429]
        assert results[2]["problem"]["limit"] == 2


def test_what_is_not_answered_in_time_is_504_and_what_is_answered_is_kept(
    detector: Detector,
) -> None:
    slow = faulty(detector)
    with serving(lambda: slow) as client:
        post(client, 90)  # from now on the cache knows it
        for seconds in ("0.5", "4", "30"):  # until they are enough for what the cache knows
            before = dropped(client).get("deadline", 0)
            answer = send(client, named(70, 90, 70), **{"x-request-timeout": seconds})
            assert answer.status_code == 200
            if 200 in statuses(answer.json()["results"]):
                break
        first, known, last = statuses(answer.json()["results"])
        assert known == 200
        assert {first, last} <= {504, 429}, "each waits for its deadline, or can't be in time"
        assert dropped(client)["deadline"] == before + (first, last).count(504)
        assert slow.stopped.wait(30)


@pytest.mark.parametrize("accept", ["application/json", "application/x-ndjson"])
def test_a_caller_that_hangs_up_stops_all_of_them(detector: Detector, accept: str) -> None:
    slow = faulty(detector)
    with running(lambda: slow) as (server, client):
        post(client, 90)
        connection = connected(client, named(70, 90, 70, 70), accept)
        until(lambda: slow.chunks and server.service.pipeline.worker.waiting == 2)
        connection.close()
        assert slow.stopped.wait(30)
        until(lambda: dropped(client) == {"disconnect": 1})
        assert post(client, 91).status_code == 200  # the device is free
        begun = len(slow.chunks)
        assert post(client, 92).status_code == 200
        assert len(slow.chunks) == begun, "those that waited do not run"
