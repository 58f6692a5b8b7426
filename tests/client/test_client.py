import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

from app.schemas.answers import detection
from tests.service import Held, encoded, picture, serving
from weakpoints.errors import OutOfMemory
from weakpoints.method.detector import Detector
from weakpoints.method.stages import Evidence, NetworkPass, Prepared
from weakpoints.options import choose
from weakpoints.progress import Progress, no_progress
from weakpoints_client import AsyncClient, Client, Detection, Refused

ROOT = Path(__file__).parents[2]
QUICK = {"patch": 14, "stride": 14}


def detect(
    url: str, asynchronous: bool, image: bytes, key: str | None = None, **options: Any
) -> Detection:
    if not asynchronous:
        with Client(url, key) as client:
            return client.detect(image, **options)

    async def run() -> Detection:
        async with AsyncClient(url, key) as client:
            return await client.detect(image, **options)

    return asyncio.run(run())


@pytest.fixture
def photo(photograph: np.ndarray) -> bytes:
    return encoded(photograph)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_the_answer_is_typed_with_progress_or_without(
    detector: Detector, photo: bytes, asynchronous: bool, tmp_path: Path
) -> None:
    (tmp_path / "keys").write_text("alpha\n")
    told: list[tuple[str, int, int]] = []
    with serving(lambda: detector, api_keys=tmp_path / "keys", cache_bytes=0) as service:
        url = str(service.base_url)
        plain = detect(url, asynchronous, photo, "alpha", max_keypoints=3, **QUICK)
        watched = detect(
            url,
            asynchronous,
            photo,
            "alpha",
            max_keypoints=3,
            progress=lambda *each: told.append(each),
            **QUICK,
        )
        assert len(plain.keypoints) == 3
        assert plain.keypoints == watched.keypoints
        assert told[0] == ("queue", 0, 1)
        assert told[-1] == ("occlusion", 32, 32)
        with pytest.raises(Refused) as raised:
            detect(url, asynchronous, photo, "beta")
        assert raised.value.status == 401


@pytest.mark.parametrize("asynchronous", [False, True])
def test_it_comes_again_when_told_to_and_gives_up_at_its_deadline(
    detector: Detector, photo: bytes, asynchronous: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.service.lifecycle.RETRY_AFTER", 1)
    gate = threading.Event()

    def load() -> Detector:
        gate.wait(20)
        return detector

    with serving(load, wait=False) as service:
        url = str(service.base_url)
        with pytest.raises(Refused) as raised:
            detect(url, asynchronous, photo, seconds=1, **QUICK)
        assert (raised.value.status, raised.value.problem["retry_after"]) == (503, 1)
        threading.Timer(0.5, gate.set).start()
        assert detect(url, asynchronous, photo, seconds=30, **QUICK).keypoints


@pytest.mark.parametrize("asynchronous", [False, True])
def test_what_fails_on_the_way_is_raised(
    detector: Detector, photo: bytes, asynchronous: bool
) -> None:
    held = Held(detector.occluder, detector.model, detector.input)
    with serving(lambda: held) as service:
        url = str(service.base_url)
        for progress in (None, lambda *each: None):
            with pytest.raises(Refused) as raised:
                detect(url, asynchronous, photo, seconds=0.4, progress=progress, **QUICK)
            assert (raised.value.status, raised.value.type) == (
                504,
                "urn:weakpoints:problem:deadline-passed",
            )
        held.gate.set()
    with pytest.raises(httpx2.ConnectError):
        detect(url, asynchronous, photo)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_it_comes_again_after_429_no_sooner_than_it_was_told(
    detector: Detector, photo: bytes, photograph: np.ndarray, asynchronous: bool
) -> None:
    found = detector.locate(photograph, choose(patch=14, stride=14))
    answer = detection(found, detector.model, "id", {}).model_dump_json()
    answers, times = [(200, answer), (429, '{"retry_after": 1}')], []

    class Full(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            times.append(time.monotonic())
            self.rfile.read(int(self.headers["content-length"]))
            status, body = answers.pop()
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Full) as server:
        thread = threading.Thread(target=lambda: [server.handle_request() for _ in range(2)])
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        assert detect(url, asynchronous, photo, seconds=60).id == "id"
        thread.join()
    assert times[1] - times[0] >= 1


@dataclass(frozen=True)
class OnceFull(Detector):
    """Lacks memory at the first photograph, and is there again at once."""

    asked: list[int] = field(default_factory=list)

    def occlude(
        self, prepared: Prepared, seen: NetworkPass, progress: Progress = no_progress
    ) -> Evidence:
        width = prepared.frame.width
        if width != 64:  # the warm-up's
            self.asked.append(width)
        if len(self.asked) == 1:
            raise OutOfMemory(
                "the device has too little memory for this request now", retry_after=1
            )
        return super().occlude(prepared, seen, progress)


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("progress", [None, lambda *each: None], ids=["plain", "watched"])
def test_it_comes_again_after_503_also_where_a_stream_says_so(
    detector: Detector, photo: bytes, asynchronous: bool, progress: Callable[..., None] | None
) -> None:
    once = OnceFull(detector.occluder, detector.model, detector.input)
    with serving(lambda: once) as service:
        assert detect(
            str(service.base_url), asynchronous, photo, progress=progress, **QUICK
        ).keypoints
    assert once.asked == [160, 160]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_one_try_is_one_try(asynchronous: bool, detector: Detector, photo: bytes) -> None:
    gate = threading.Event()

    def load() -> Detector:
        gate.wait(60)
        return detector

    with serving(load, wait=False) as service:
        with pytest.raises(Refused) as raised:
            detect(str(service.base_url), asynchronous, photo, tries=1, **QUICK)
        assert raised.value.status == 503
        gate.set()


def detect_many(
    url: str, asynchronous: bool, images: list[bytes | Path], **options: Any
) -> list[Detection | Refused]:
    if not asynchronous:
        with Client(url) as client:
            return client.detect_many(images, **options)

    async def run() -> list[Detection | Refused]:
        async with AsyncClient(url) as client:
            return await client.detect_many(images, **options)

    return asyncio.run(run())


@pytest.mark.parametrize("asynchronous", [False, True])
def test_many_photographs_are_answered_in_their_order_and_refused_by_themselves(
    detector: Detector, asynchronous: bool
) -> None:
    images = [picture(90), b"text", picture(92), picture(91)]
    with serving(lambda: detector) as service:
        url = str(service.base_url)
        for at_once in (16, 3):
            one, text, two, three = detect_many(
                url, asynchronous, images, at_once=at_once, target_class=["cat", 3], **QUICK
            )
            assert [each.image.width for each in (one, two, three)] == [90, 92, 91]
            assert {point.target for point in one.keypoints} == {2, 3}
            assert isinstance(text, Refused)
            assert text.status == 415
        assert detect_many(url, asynchronous, []) == []
        with pytest.raises(Refused, match="unicorn"):
            detect_many(url, asynchronous, images, target_class="unicorn")


@pytest.mark.parametrize("asynchronous", [False, True])
def test_of_many_those_that_found_no_room_are_sent_again(
    detector: Detector, asynchronous: bool
) -> None:
    images = [picture(90), picture(91)]
    once = OnceFull(detector.occluder, detector.model, detector.input)
    with serving(lambda: once) as service:
        url = str(service.base_url)
        found = detect_many(url, asynchronous, images, tries=1, **QUICK)
        assert sorted(isinstance(each, Refused) and each.status for each in found) == [False, 503]
        once.asked.clear()
        found = detect_many(url, asynchronous, images, seed=1, **QUICK)
        assert [each.image.width for each in found] == [90, 91]
        assert len(once.asked) == 3


@contextmanager
def answering(*answers: tuple[int, dict[str, str], bytes]) -> Iterator[str]:
    """The address of a server that gives one of these answers to each request, in turn."""
    left = list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            status, headers, body = left.pop(0)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=lambda: [server.handle_request() for _ in answers])
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        thread.join()


UNREADABLE = b'{"index": 1, "problem": {"status": 415}}\n'


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_line_that_is_missing_is_a_refusal_beside_what_was_answered(asynchronous: bool) -> None:
    with answering((200, {}, UNREADABLE)) as url:
        missing, answered = detect_many(url, asynchronous, [b"a", b"b"])
    assert (missing.status, answered.status) == (0, 415)
    assert isinstance(missing.__cause__, httpx2.RemoteProtocolError)
    assert "ended before the last result" in str(missing)


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize(
    ("body", "raised"),
    [
        (b"", httpx2.RemoteProtocolError),
        (b'{"problem": {"status": 500, "detail": "broken"}}\n', Refused),
        (b"<html>log in</html>", httpx2.DecodingError),
        (b'"what?"\n', httpx2.DecodingError),
        (b'{"index": 0, "id": "a"}\n', httpx2.DecodingError),
    ],
)
def test_where_nothing_was_answered_the_error_is_raised(
    asynchronous: bool, body: bytes, raised: type[Exception]
) -> None:
    with answering((200, {}, body)) as url, pytest.raises(raised):
        detect_many(url, asynchronous, [b"a", b"b"])


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_later_request_that_fails_loses_no_earlier_answer(asynchronous: bool) -> None:
    one = b'{"index": 0, "problem": {"status": 415}}\n'
    broken = b'{"type": "internal", "status": 500, "detail": "broken"}'
    with answering((200, {}, one), (500, {}, broken), (200, {}, one)) as url:
        found = detect_many(url, asynchronous, [b"a", b"b", Path("no such file"), b"c"], at_once=1)
    assert [refused.status for refused in found] == [415, 500, 0, 415]
    assert "No such file" in str(found[2])


@pytest.mark.parametrize(
    ("status", "headers", "body", "said"),
    [
        (502, {}, b"<html>Bad gateway</html>", "status 502"),
        (502, {}, b'"Bad gateway"', "status 502"),
        (403, {}, b'{"status": "error", "detail": "blocked"}', "status 403"),
        (404, {}, b"\xff\xfe", "status 404"),
        (307, {"location": "https://there/detect"}, b"", "moved to https://there/detect"),
        (401, {}, b'{"detail": "who are you?"}', "who are you"),
    ],
)
@pytest.mark.parametrize("asynchronous", [False, True])
def test_what_a_proxy_says_instead_is_a_refusal_too(
    asynchronous: bool, status: int, headers: dict[str, str], body: bytes, said: str
) -> None:
    with answering((status, headers, body)) as url, pytest.raises(Refused, match=said) as raised:
        detect(url, asynchronous, b"photo")
    assert raised.value.status == status


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("watched", [False, True])
def test_a_page_in_place_of_the_answer_is_no_answer(asynchronous: bool, watched: bool) -> None:
    progress = (lambda *step: None) if watched else None
    raised = httpx2.RemoteProtocolError if watched else httpx2.DecodingError
    with answering((200, {}, b"<html>log in</html>")) as url, pytest.raises(raised):
        detect(url, asynchronous, b"photo", progress=progress)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_file_is_read_once_and_sent_again(
    asynchronous: bool, detector: Detector, photo: bytes, photograph: np.ndarray, tmp_path: Path
) -> None:
    (tmp_path / "a.jpg").write_bytes(photo)
    once = OnceFull(detector.occluder, detector.model, detector.input)
    with serving(lambda: once) as service:
        url = str(service.base_url)
        with (tmp_path / "a.jpg").open("rb") as file:
            found = detect(url, asynchronous, file, key=" \n", **QUICK)
        assert detect(url, asynchronous, tmp_path / "a.jpg", **QUICK).keypoints == found.keypoints
        view = memoryview(photo)
        assert detect(url, asynchronous, view, seconds=float("inf"), **QUICK).keypoints
        for wrong in (str(tmp_path / "a.jpg"), photograph):
            with pytest.raises(TypeError, match="Path"):
                detect(url, asynchronous, wrong)


def test_heat_maps_the_model_and_readiness_are_asked_by_both(
    detector: Detector, photo: bytes, tmp_path: Path
) -> None:
    (tmp_path / "keys").write_text("alpha\n")
    options = {"style": "gray16", "size": "network", **QUICK}

    async def by_async(url: str) -> tuple[object, ...]:
        async with AsyncClient(url, "alpha") as client:
            png = await client.heatmap(photo, **options)
            arrays = await client.arrays(photo, **QUICK)
            shown = png, arrays.answer.keypoints, arrays.fused.shape
            return await client.ready(), (await client.model()).name, *shown

    with serving(lambda: detector, api_keys=tmp_path / "keys") as service:
        url = str(service.base_url)
        with Client(url, "alpha") as client:
            arrays = client.arrays(photo, **QUICK)
            shown = client.heatmap(photo, **options), arrays.answer.keypoints, arrays.fused.shape
            asked = client.ready(), client.model().name, *shown
            with pytest.raises(Refused, match="style"):
                client.heatmap(photo, style="loud")
        assert asked == asyncio.run(by_async(url))
        assert asked[:2] == (True, "toy")
        assert asked[2].startswith(b"\x89PNG")
        assert asked[4] == (56, 56)
        with Client(url, "beta") as client, pytest.raises(Refused) as raised:
            client.model()
        assert raised.value.status == 401
    assert not Client(url).ready()

    async def gone() -> bool:
        async with AsyncClient(url) as client:
            return await client.ready()

    assert not asyncio.run(gone())


def test_it_needs_nothing_of_the_service() -> None:
    asked = (
        "import sys, weakpoints_client; "
        "print({'torch', 'cv2', 'numpy', 'fastapi', 'app'} & set(sys.modules))"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT / "client" / "src")}
    answer = subprocess.check_output([sys.executable, "-c", asked], env=environment, text=True)
    assert answer.strip() == "set()"
