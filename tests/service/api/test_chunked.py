import numpy as np

from app.service.api.streaming import CHUNK
from tests.service import encoded, request_head, running, until
from weakpoints.method.detector import Detector


def test_a_picture_is_held_until_its_answer_is_read(detector: Detector) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (2000, 2000, 3), np.uint8)
    body = encoded(noise)
    with running(lambda: detector) as (server, client):
        queue = server.service.pipeline.worker._queue
        connection, head = request_head(client, len(body))
        with connection:
            connection.sendall(head.replace(b"/detect", b"/heatmap?patch=14&stride=14") + body)
            received = connection.recv(CHUNK)
            assert received.startswith(b"HTTP/1.1 200 ")
            assert queue._held == 2000 * 2000, "most of the answer has not been read"
            length = int(received.partition(b"content-length: ")[2].partition(b"\r\n")[0])
            assert length > 20 * CHUNK
            left = length + received.index(b"\r\n\r\n") + 4 - len(received)
            while left:
                left -= len(connection.recv(CHUNK))
            until(lambda: not queue._held)
        unread, head = request_head(client, len(body))
        unread.sendall(head.replace(b"/detect", b"/heatmap?patch=14&stride=14") + body)
        assert unread.recv(CHUNK).startswith(b"HTTP/1.1 200 ")
        assert queue._held
        unread.close()
        until(lambda: not queue._held)
        answer = client.post("/heatmap", content=body, headers={"content-type": "image/png"})
        assert (answer.status_code, len(answer.content)) == (200, length)
