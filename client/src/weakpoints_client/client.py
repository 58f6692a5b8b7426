"""The client that blocks. It waits when it is told to.

    with Client("http://localhost:8000", key="...") as weakpoints:
        found = weakpoints.detect(Path("photo.jpg").read_bytes(), seconds=30, max_keypoints=10)

Everything raises Refused, or what httpx2 raises where no answer comes.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Unpack

import httpx2

from weakpoints_client.answers import ENDED, EventBlocks, Lines, Refused, accepted, read_answer
from weakpoints_client.arrays import Arrays, read_arrays
from weakpoints_client.calls import (
    AT_ONCE,
    CONNECTION_LIMITS,
    ApiCall,
    Photograph,
    Progress,
    Together,
    file_bytes,
)
from weakpoints_client.models import (
    Detection,
    DetectOptions,
    HeatmapOptions,
    LandmarkOptions,
    LandmarkSets,
    ModelCard,
    NamedPoints,
)


class Client:
    """Blocking; any number of threads may share one.

    A photograph is its bytes, a pathlib.Path, or a file that was opened in mode "rb".
    """

    def __init__(self, url: str, key: str | None = None) -> None:
        self._http, self._key = httpx2.Client(base_url=url, limits=CONNECTION_LIMITS), key

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.close()

    def detect(
        self,
        image: Photograph,
        *,
        seconds: float = 60.0,
        tries: int | None = None,
        progress: Progress | None = None,
        **options: Unpack[DetectOptions],
    ) -> Detection:
        """Keypoints of an encoded photograph.

        seconds: for everything, waiting and tries included; tries: at most so many.
        """
        call = ApiCall(self._key, seconds, tries, options, progress)
        body = self._post("/detect", call, image)
        return body if isinstance(body, Detection) else read_answer(Detection, body)

    def detect_many(
        self,
        images: Sequence[Photograph],
        *,
        seconds: float = 60.0,
        tries: int | None = None,
        at_once: int = AT_ONCE,
        **options: Unpack[DetectOptions],
    ) -> list[Detection | Refused]:
        """The answer to each photograph, or why it has none, in their order.

        at_once: how many are sent in one request; the service's WEAKPOINTS_MAX_IMAGES at most.
        Those that it has no room for are sent again. seconds: for everything; tries: of a request.
        Raises Refused, or what httpx2 raises, where nothing was answered; else those that are
        left have a Refused, of status 0 where no answer came.
        """
        answers: list[Detection | Refused] = []
        end = time.monotonic() + seconds
        for start in range(0, len(images), at_once):
            call = ApiCall(self._key, end - time.monotonic(), tries, options)
            group = Together(call, images[start : start + at_once])
            try:
                while group.rest:
                    time.sleep(self._send(group, call))
            except (Refused, httpx2.RequestError) as error:
                if not (group.fail(error) or answers):
                    raise  # nothing was answered that could be lost
            answers += group.answers
        return answers

    def heatmap(
        self,
        image: Photograph,
        *,
        seconds: float = 60.0,
        tries: int | None = None,
        **options: Unpack[HeatmapOptions],
    ) -> bytes:
        """One of the maps as a PNG; `seconds` and `tries` as for `detect`."""
        png = self._post("/heatmap", ApiCall(self._key, seconds, tries, options), image)
        assert isinstance(png, bytes)
        return png

    def arrays(
        self,
        image: Photograph,
        *,
        seconds: float = 60.0,
        tries: int | None = None,
        **options: Unpack[DetectOptions],
    ) -> Arrays:
        """The maps as numbers; needs numpy. `seconds` and `tries` as for `detect`."""
        call = ApiCall(self._key, seconds, tries, {**options, "format": "npz"})
        npz = self._post("/heatmap", call, image)
        assert isinstance(npz, bytes)
        return read_arrays(npz)

    def landmarks(
        self,
        image: bytes,
        name: str,
        *,
        seconds: float = 60.0,
        tries: int | None = None,
        **options: Unpack[LandmarkOptions],
    ) -> NamedPoints:
        """The landmarks of one of the service's sets on a photograph; see `landmark_sets`.

        options: `roi`, `fit`, `background`, `top_classes`; several `roi` are an object each.
        """
        call = ApiCall(self._key, seconds, tries, options)
        body = self._retried(f"/landmarks/{name}", call, lambda: call.request(image))
        return read_answer(NamedPoints, body)

    def landmarks_by_references(
        self,
        image: bytes,
        references: Mapping[str, bytes],
        annotations: bytes,
        *,
        seconds: float = 60.0,
        tries: int | None = None,
        **options: Unpack[LandmarkOptions],
    ) -> NamedPoints:
        """The landmarks that are marked on references, by file name, in COCO keypoints."""
        call = ApiCall(self._key, seconds, tries, options)
        body = self._retried(
            "/landmarks", call, lambda: call.with_references(image, references, annotations)
        )
        return read_answer(NamedPoints, body)

    def landmark_sets(self) -> LandmarkSets:
        """The landmark sets that the service has."""
        answer = self._http.get("/landmarks", headers=ApiCall(self._key, 0, 1, {}).key)
        return read_answer(LandmarkSets, accepted(answer))

    def model(self) -> ModelCard:
        """The network that answers, and its labels."""
        answer = self._http.get("/model", headers=ApiCall(self._key, 0, 1, {}).key)
        return read_answer(ModelCard, accepted(answer))

    def ready(self) -> bool:
        """Whether photographs are answered now; False also where nobody listens."""
        try:
            return self._http.get("/readyz").is_success
        except httpx2.TransportError:
            return False

    def _post(self, path: str, call: ApiCall, image: Photograph) -> bytes | Detection:
        data = file_bytes(image)
        while True:
            try:
                with self._http.stream("POST", path, **call.request(data)) as answer:
                    if answer.status_code == 200 and call.progress:
                        return self._watch(call, _sync_lines(answer))
                    answer.read()
                    return accepted(answer)
            except Refused as refused:
                time.sleep(call.pause(refused))

    def _retried(self, path: str, call: ApiCall, request: Callable[[], dict[str, Any]]) -> bytes:
        while True:
            try:
                return accepted(self._http.post(path, **request()))
            except Refused as refused:
                time.sleep(call.pause(refused))

    def _send(self, group: Together, call: ApiCall) -> float:
        """Seconds after which to send what is left."""
        try:
            with self._http.stream("POST", "/detect", **group.request()) as answer:
                if answer.status_code != 200:
                    answer.read()
                    accepted(answer)
                for line in _sync_lines(answer):
                    group.take(line)
            return group.pause()
        except Refused as refused:
            return call.pause(refused)

    def _watch(self, call: ApiCall, lines: Iterator[str]) -> Detection:
        blocks = EventBlocks()
        for line in lines:
            if (block := blocks.add(line)) and (answer := call.event(block)):
                return answer
        raise httpx2.RemoteProtocolError(ENDED)


def _sync_lines(answer: httpx2.Response) -> Iterator[str]:
    """Of a stream; httpx2's own end at U+2028, too, which labels may have."""
    lines = Lines()
    for piece in answer.iter_bytes():
        for line in lines.add(piece):
            yield line
    for line in lines.add(b""):
        yield line
