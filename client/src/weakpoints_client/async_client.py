"""The client for asyncio: `Client` with `await`."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
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


class AsyncClient:
    """The same as `Client`, for asyncio."""

    def __init__(self, url: str, key: str | None = None) -> None:
        self._http, self._key = httpx2.AsyncClient(base_url=url, limits=CONNECTION_LIMITS), key

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._http.aclose()

    async def detect(
        self,
        image: Photograph,
        *,
        seconds: float = 60.0,
        tries: int | None = None,
        progress: Progress | None = None,
        **options: Unpack[DetectOptions],
    ) -> Detection:
        """As `Client.detect`."""
        call = ApiCall(self._key, seconds, tries, options, progress)
        body = await self._post("/detect", call, image)
        return body if isinstance(body, Detection) else read_answer(Detection, body)

    async def detect_many(
        self,
        images: Sequence[Photograph],
        *,
        seconds: float = 60.0,
        tries: int | None = None,
        at_once: int = AT_ONCE,
        **options: Unpack[DetectOptions],
    ) -> list[Detection | Refused]:
        """As `Client.detect_many`."""
        answers: list[Detection | Refused] = []
        end = time.monotonic() + seconds
        for start in range(0, len(images), at_once):
            call = ApiCall(self._key, end - time.monotonic(), tries, options)
            group = Together(call, images[start : start + at_once])
            try:
                while group.rest:
                    await asyncio.sleep(await self._send(group, call))
            except (Refused, httpx2.RequestError) as error:
                if not (group.fail(error) or answers):
                    raise  # nothing was answered that could be lost
            answers += group.answers
        return answers

    async def heatmap(
        self,
        image: Photograph,
        *,
        seconds: float = 60.0,
        tries: int | None = None,
        **options: Unpack[HeatmapOptions],
    ) -> bytes:
        """As `Client.heatmap`."""
        png = await self._post("/heatmap", ApiCall(self._key, seconds, tries, options), image)
        assert isinstance(png, bytes)
        return png

    async def arrays(
        self,
        image: Photograph,
        *,
        seconds: float = 60.0,
        tries: int | None = None,
        **options: Unpack[DetectOptions],
    ) -> Arrays:
        """As `Client.arrays`."""
        call = ApiCall(self._key, seconds, tries, {**options, "format": "npz"})
        npz = await self._post("/heatmap", call, image)
        assert isinstance(npz, bytes)
        return read_arrays(npz)

    async def landmarks(
        self,
        image: bytes,
        name: str,
        *,
        seconds: float = 60.0,
        tries: int | None = None,
        **options: Unpack[LandmarkOptions],
    ) -> NamedPoints:
        """As `Client.landmarks`."""
        call = ApiCall(self._key, seconds, tries, options)
        body = await self._retried(f"/landmarks/{name}", call, lambda: call.request(image))
        return read_answer(NamedPoints, body)

    async def landmarks_by_references(
        self,
        image: bytes,
        references: Mapping[str, bytes],
        annotations: bytes,
        *,
        seconds: float = 60.0,
        tries: int | None = None,
        **options: Unpack[LandmarkOptions],
    ) -> NamedPoints:
        """As `Client.landmarks_by_references`."""
        call = ApiCall(self._key, seconds, tries, options)
        body = await self._retried(
            "/landmarks", call, lambda: call.with_references(image, references, annotations)
        )
        return read_answer(NamedPoints, body)

    async def landmark_sets(self) -> LandmarkSets:
        """As `Client.landmark_sets`."""
        answer = await self._http.get("/landmarks", headers=ApiCall(self._key, 0, 1, {}).key)
        return read_answer(LandmarkSets, accepted(answer))

    async def model(self) -> ModelCard:
        """As `Client.model`."""
        answer = await self._http.get("/model", headers=ApiCall(self._key, 0, 1, {}).key)
        return read_answer(ModelCard, accepted(answer))

    async def ready(self) -> bool:
        """As `Client.ready`."""
        try:
            return (await self._http.get("/readyz")).is_success
        except httpx2.TransportError:
            return False

    async def _post(self, path: str, call: ApiCall, image: Photograph) -> bytes | Detection:
        data = file_bytes(image)
        while True:
            try:
                async with self._http.stream("POST", path, **call.request(data)) as answer:
                    if answer.status_code == 200 and call.progress:
                        return await self._watch(call, _async_lines(answer))
                    await answer.aread()
                    return accepted(answer)
            except Refused as refused:
                await asyncio.sleep(call.pause(refused))

    async def _retried(
        self, path: str, call: ApiCall, request: Callable[[], dict[str, Any]]
    ) -> bytes:
        while True:
            try:
                return accepted(await self._http.post(path, **request()))
            except Refused as refused:
                await asyncio.sleep(call.pause(refused))

    async def _send(self, group: Together, call: ApiCall) -> float:
        try:
            async with self._http.stream("POST", "/detect", **group.request()) as answer:
                if answer.status_code != 200:
                    await answer.aread()
                    accepted(answer)
                async for line in _async_lines(answer):
                    group.take(line)
            return group.pause()
        except Refused as refused:
            return call.pause(refused)

    async def _watch(self, call: ApiCall, lines: AsyncIterator[str]) -> Detection:
        blocks = EventBlocks()
        async for line in lines:
            if (block := blocks.add(line)) and (answer := call.event(block)):
                return answer
        raise httpx2.RemoteProtocolError(ENDED)


async def _async_lines(answer: httpx2.Response) -> AsyncIterator[str]:
    """Of a stream; httpx2's own end at U+2028, too, which labels may have."""
    lines = Lines()
    async for piece in answer.aiter_bytes():
        for line in lines.add(piece):
            yield line
    for line in lines.add(b""):
        yield line
