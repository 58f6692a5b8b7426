import json

import numpy as np
import pytest

from app.service.api.streaming import CHUNK_BYTES, event, one_line
from tests.service import (
    STREAM,
    Faulty,
    encoded,
    faulty,
    picture,
    post,
    request_head,
    running,
    serving,
    until,
)
from weakpoints.method.detector import Detector


def events(text: str) -> list[tuple[str, dict[str, object]]]:
    blocks = [
        block.split("\n") for block in text.split("\n\n") if block and not block.startswith(":")
    ]
    return [
        (name.removeprefix("event: "), json.loads(data.removeprefix("data: ")))
        for name, data in blocks
    ]


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


def test_what_fails_within_a_stream_is_its_last_event_and_before_it_a_status(
    detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = faulty(detector)
    with serving(lambda: slow) as client:
        assert (
            client.post(
                "/detect", content=b"%PDF-1.7", headers={"content-type": "image/png", **STREAM}
            ).status_code
            == 415
        )
        name, body = events(post(client, 71, **STREAM).text)[-1]
        assert (name, body["status"], body["type"]) == (
            "error",
            503,
            "urn:weakpoints:problem:out-of-memory",
        )
        name, body = events(post(client, 70, **STREAM, **{"x-request-timeout": "1"}).text)[-1]
        assert (name, body["status"]) == ("error", 504)
        assert slow.stopped.wait(30)
        monkeypatch.setattr(Faulty, "explain", lambda *args: 1 / 0)
        name, body = events(post(client, 91, **STREAM).text)[-1]
        assert (name, body["status"]) == ("error", 500)
        assert "zero" not in str(body)


def test_a_caller_that_hangs_up_a_stream_stops_the_work(detector: Detector) -> None:
    slow = faulty(detector)
    with serving(lambda: slow) as client:
        with client.stream(
            "POST", "/detect", content=picture(70), headers={"content-type": "image/png", **STREAM}
        ) as answer:
            text = answer.iter_text()  # kept: what is dropped hangs up
            assert "queue" in next(text)
            until(lambda: slow.chunks)
        assert slow.stopped.wait(30)


@pytest.mark.parametrize("mark", ["\x7f", "\x85", "\u2028", "\u2029"])
def test_a_line_of_a_stream_has_no_other_end_of_a_line_in_it(mark: str) -> None:
    data = json.dumps({"label": f"a{mark}b"}, ensure_ascii=False)
    assert one_line(data).splitlines() == [one_line(data)]
    assert json.loads(one_line(data)) == json.loads(data)
    assert len(event("result", data).decode().strip().splitlines()) == 2


def test_a_picture_is_held_until_its_answer_is_read(detector: Detector) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (2000, 2000, 3), np.uint8)
    body = encoded(noise)
    with running(lambda: detector) as (server, client):
        queue = server.service.pipeline.worker._queue
        connection, head = request_head(client, len(body))
        with connection:
            connection.sendall(head.replace(b"/detect", b"/heatmap?patch=14&stride=14") + body)
            received = connection.recv(CHUNK_BYTES)
            assert received.startswith(b"HTTP/1.1 200 ")
            assert queue._held == 2000 * 2000, "most of the answer has not been read"
            length = int(received.partition(b"content-length: ")[2].partition(b"\r\n")[0])
            assert length > 20 * CHUNK_BYTES
            left = length + received.index(b"\r\n\r\n") + 4 - len(received)
            while left:
                left -= len(connection.recv(CHUNK_BYTES))
            until(lambda: not queue._held)
        unread, head = request_head(client, len(body))
        unread.sendall(head.replace(b"/detect", b"/heatmap?patch=14&stride=14") + body)
        assert unread.recv(CHUNK_BYTES).startswith(b"HTTP/1.1 200 ")
        assert queue._held
        unread.close()
        until(lambda: not queue._held)
        answer = client.post("/heatmap", content=body, headers={"content-type": "image/png"})
        assert (answer.status_code, len(answer.content)) == (200, length)
