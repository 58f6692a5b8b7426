"""The two clients: `Client` blocks, `AsyncClient` awaits. They wait when they are told to.

    with Client("http://localhost:8000", key="...") as weakpoints:
        found = weakpoints.detect(Path("photo.jpg").read_bytes(), seconds=30, max_keypoints=10)

All raise Refused, or what httpx2 raises where no answer comes.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import Unpack

import httpx2

from weakpoints_client.calls import Blocks, Call, Progress, Refused, accepted
from weakpoints_client.models import Detection, DetectOptions, HeatmapOptions, ModelCard

LIMITS = httpx2.Limits(max_connections=None, max_keepalive_connections=None)  # one a caller
ENDED = "the stream ended before the result"


class Client:
    """Blocking; any number of threads may share one."""

    def __init__(self, url: str, key: str | None = None) -> None:
        self._http, self._key = httpx2.Client(base_url=url, limits=LIMITS), key

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
        image: bytes,
        *,
        seconds: float = 60.0,
        tries: int | None = None,
        progress: Progress | None = None,
        **options: Unpack[DetectOptions],
    ) -> Detection:
        """Keypoints of an encoded photograph.

        seconds: for everything, waiting and tries included; tries: at most so many.
        """
        call = Call(self._key, seconds, tries, options, progress)
        found = self._post("/detect", call, image)
        return found if isinstance(found, Detection) else Detection.model_validate_json(found)

    def heatmap(
        self,
        image: bytes,
        *,
        seconds: float = 60.0,
        tries: int | None = None,
        **options: Unpack[HeatmapOptions],
    ) -> bytes:
        """One of the maps as a PNG; `seconds` and `tries` as for `detect`."""
        png = self._post("/heatmap", Call(self._key, seconds, tries, options), image)
        assert isinstance(png, bytes)
        return png

    def model(self) -> ModelCard:
        """The network that answers, and its labels."""
        answer = self._http.get("/model", headers=Call(self._key, 0, 1, {}).key)
        return ModelCard.model_validate_json(accepted(answer))

    def ready(self) -> bool:
        """Whether photographs are answered now; False also where nobody listens."""
        try:
            return self._http.get("/readyz").is_success
        except httpx2.TransportError:
            return False

    def _post(self, path: str, call: Call, image: bytes) -> bytes | Detection:
        while True:
            try:
                with self._http.stream("POST", path, **call.request(image)) as answer:
                    if answer.status_code == 200 and call.progress:
                        return self._watch(call, answer.iter_lines())
                    answer.read()
                    return accepted(answer)
            except Refused as refused:
                time.sleep(call.pause(refused))

    def _watch(self, call: Call, lines: Iterator[str]) -> Detection:
        blocks = Blocks()
        for line in lines:
            if (block := blocks.add(line)) and (found := call.event(block)):
                return found
        raise httpx2.RemoteProtocolError(ENDED)


class AsyncClient:
    """The same, for asyncio."""

    def __init__(self, url: str, key: str | None = None) -> None:
        self._http, self._key = httpx2.AsyncClient(base_url=url, limits=LIMITS), key

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
        image: bytes,
        *,
        seconds: float = 60.0,
        tries: int | None = None,
        progress: Progress | None = None,
        **options: Unpack[DetectOptions],
    ) -> Detection:
        """As `Client.detect`."""
        call = Call(self._key, seconds, tries, options, progress)
        found = await self._post("/detect", call, image)
        return found if isinstance(found, Detection) else Detection.model_validate_json(found)

    async def heatmap(
        self,
        image: bytes,
        *,
        seconds: float = 60.0,
        tries: int | None = None,
        **options: Unpack[HeatmapOptions],
    ) -> bytes:
        """As `Client.heatmap`."""
        png = await self._post("/heatmap", Call(self._key, seconds, tries, options), image)
        assert isinstance(png, bytes)
        return png

    async def model(self) -> ModelCard:
        """As `Client.model`."""
        answer = await self._http.get("/model", headers=Call(self._key, 0, 1, {}).key)
        return ModelCard.model_validate_json(accepted(answer))

    async def ready(self) -> bool:
        """As `Client.ready`."""
        try:
            return (await self._http.get("/readyz")).is_success
        except httpx2.TransportError:
            return False

    async def _post(self, path: str, call: Call, image: bytes) -> bytes | Detection:
        while True:
            try:
                async with self._http.stream("POST", path, **call.request(image)) as answer:
                    if answer.status_code == 200 and call.progress:
                        return await self._watch(call, answer.aiter_lines())
                    await answer.aread()
                    return accepted(answer)
            except Refused as refused:
                await asyncio.sleep(call.pause(refused))

    async def _watch(self, call: Call, lines: AsyncIterator[str]) -> Detection:
        blocks = Blocks()
        async for line in lines:
            if (block := blocks.add(line)) and (found := call.event(block)):
                return found
        raise httpx2.RemoteProtocolError(ENDED)
