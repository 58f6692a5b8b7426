"""A client for other services, plain and async: it waits when it is told to, keeps a deadline and can watch the progress.

with Client("http://localhost:8000", key="...") as weakpoints:
    found = weakpoints.detect(Path("photo.jpg").read_bytes(), seconds=30, max_keypoints=10)
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from types import TracebackType
from typing import Any

import httpx2

from app.schemas import Detection

AGAIN = {429, 503}  # statuses after which the service asks to come again
Progress = Callable[[str, int, int], None]


class Refused(Exception):
    """The service's problem: its status, its stable type, what it says, and every figure in `problem`."""

    def __init__(self, problem: dict[str, Any]) -> None:
        super().__init__(problem.get("detail", ""))
        self.problem = problem
        self.status = int(problem.get("status", 0))
        self.type = str(problem.get("type", ""))


class _Call:
    """One detection, whatever carries it: what to send, when to come again, what the answer means."""

    def __init__(
        self, key: str | None, seconds: float, progress: Progress | None, options: dict[str, Any]
    ) -> None:
        self.end = time.monotonic() + seconds
        self.progress, self.options = progress, options
        self.key = {"Authorization": f"Bearer {key}"} if key else {}

    def request(self, image: bytes) -> dict[str, Any]:
        left = max(0.001, self.end - time.monotonic())
        accept = {"Accept": "text/event-stream"} if self.progress else {}
        headers = {
            "Content-Type": "image/*",
            "X-Request-Timeout": f"{left:.3f}",
            **accept,
            **self.key,
        }
        return {"content": image, "params": self.options, "headers": headers, "timeout": left + 1}

    def pause(self, refused: Refused) -> float:
        """Seconds after which to come again. Raises the refusal if it is final, or if there is no time for that."""
        seconds = float(refused.problem.get("retry_after", 1))
        if refused.status not in AGAIN or time.monotonic() + seconds >= self.end:
            raise refused
        return seconds

    def read(self, answer: httpx2.Response) -> Detection:
        if answer.status_code == 200:
            return Detection.model_validate_json(answer.content)
        told = answer.headers.get("retry-after", "1")
        problem = {
            "status": answer.status_code,
            "detail": f"status {answer.status_code}",
            "retry_after": int(told) if told.isdecimal() else 1,
        }
        try:
            raise Refused(problem | answer.json())
        except json.JSONDecodeError:  # from a proxy, not from the service
            raise Refused(problem) from None

    def event(self, lines: list[str]) -> Detection | None:
        """One event of a stream; the result if it is that."""
        fields = dict(line.split(": ", 1) for line in lines if not line.startswith(":"))
        match fields.get("event"):
            case "progress" if self.progress:
                data = json.loads(fields["data"])
                self.progress(data["stage"], data["done"], data["total"])
            case "error":
                raise Refused(json.loads(fields["data"]))
            case "result":
                return Detection.model_validate_json(fields["data"])
        return None


class _Blocks:
    """Lines to events: those between blank ones."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def add(self, line: str) -> list[str] | None:
        if line:
            self._lines.append(line)
            return None
        block, self._lines = self._lines, []
        return block


class Client:
    """Blocking. `detect` raises Refused, or what httpx2 raises where no answer comes."""

    def __init__(self, url: str, key: str | None = None) -> None:
        self._http, self._key = httpx2.Client(base_url=url), key

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
        progress: Progress | None = None,
        **options: Any,
    ) -> Detection:
        """Keypoints of an encoded image within so many seconds, waits and tries included; options as the service's."""
        call = _Call(self._key, seconds, progress, options)
        while True:
            try:
                with self._http.stream("POST", "/detect", **call.request(image)) as answer:
                    if answer.status_code == 200 and progress:
                        return self._watch(call, answer.iter_lines())
                    answer.read()
                    return call.read(answer)
            except Refused as refused:
                time.sleep(call.pause(refused))

    def _watch(self, call: _Call, lines: Iterator[str]) -> Detection:
        blocks = _Blocks()
        for line in lines:
            if (block := blocks.add(line)) and (found := call.event(block)):
                return found
        raise httpx2.RemoteProtocolError("the stream ended before the result")


class AsyncClient:
    """The same, for asyncio."""

    def __init__(self, url: str, key: str | None = None) -> None:
        self._http, self._key = httpx2.AsyncClient(base_url=url), key

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
        progress: Progress | None = None,
        **options: Any,
    ) -> Detection:
        call = _Call(self._key, seconds, progress, options)
        while True:
            try:
                async with self._http.stream("POST", "/detect", **call.request(image)) as answer:
                    if answer.status_code == 200 and progress:
                        return await self._watch(call, answer.aiter_lines())
                    await answer.aread()
                    return call.read(answer)
            except Refused as refused:
                await asyncio.sleep(call.pause(refused))

    async def _watch(self, call: _Call, lines: AsyncIterator[str]) -> Detection:
        blocks = _Blocks()
        async for line in lines:
            if (block := blocks.add(line)) and (found := call.event(block)):
                return found
        raise httpx2.RemoteProtocolError("the stream ended before the result")
