"""What the benchmark counts, on a service that answers by turns; how the queue does under such a
load is tested with a clock of its own: tests/service/scheduling/test_device_queue.py.
"""

import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count

import pytest

from benchmarks import overload as module

TIMING = {"timing_ms": {"trace": 10, "guided": 5, "occlusion": 15, "total": 99}}


class ByTurns(BaseHTTPRequestHandler):
    """The first seven, which come alone, and each third later are answered; others refused."""

    numbers = count()
    seen: list[tuple[str, str]] = []  # noqa: RUF012

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.seen.append((self.headers["x-forwarded-for"], self.headers["x-request-timeout"]))
        number = next(self.numbers) - module.ALONE_REQUESTS - 1
        status = 200 if number < 0 else (200, 429, 504)[number % 3]
        body = json.dumps(TIMING).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.send_header("retry-after", "2")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


class Stub(ThreadingHTTPServer):
    request_queue_size = 64  # connections that may come at once


def test_answers_refusals_and_the_device_s_seconds_are_counted() -> None:
    with Stub(("127.0.0.1", 0), ByTurns) as server:
        threading.Thread(target=server.serve_forever).start()
        url = f"http://127.0.0.1:{server.server_port}"
        found = asyncio.run(module.overload(url, times=3, seconds=0.3, deadline=7, callers=8))
        server.shutdown()
    assert found["device_s_alone"] == pytest.approx(0.03)
    assert found["statuses"] == {200: 10, 429: 10, 504: 10}, "0.3 s of three times the load"
    assert found["useful_share"] == pytest.approx(0.03 * found["answers_per_second"])
    assert found["of_the_device_alone"] == pytest.approx(found["useful_share"])
    assert found["retry_after_s"] == {"p50": 2, "p95": 2, "p100": 2}
    assert found["waited_in_vain"] >= 10, "every 504, and refusals that took long"
    assert {waits for _, waits in ByTurns.seen} == {"7"}
    assert len({caller for caller, _ in ByTurns.seen}) > 2
