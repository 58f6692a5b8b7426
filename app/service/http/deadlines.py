"""How long a request is worked on: until its deadline, and only while its caller is there."""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
from starlette.requests import ClientDisconnect, Request

from app.service.http.requests import caller_of
from weakpoints.errors import DeadlinePassed, MalformedRequest

TIMEOUT_HEADER = "X-Request-Timeout"


@dataclass
class Caller:
    """Who waits for the answer to one request, until `end` on anyio's clock."""

    request: Request
    scope: anyio.CancelScope
    end: float
    gone: bool = False
    _watching: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """Whose turn it is counted by: its key or its address."""
        return caller_of(self.request)

    @property
    def seconds_left(self) -> float:
        """What the caller still waits."""
        return max(0.0, self.end - anyio.current_time())

    def watch(self) -> None:
        """From here on a hang-up ends the work. To be called once the body has been read.

        Before that, reading the body raises ClientDisconnect itself.
        """
        self._watching = asyncio.create_task(self._watch())

    def leave(self) -> None:
        """No more watching: the server reads the connection again."""
        if self._watching is not None:
            self._watching.cancel()

    async def _watch(self) -> None:
        while (await self.request.receive())["type"] != "http.disconnect":
            pass
        self.gone = True
        self.scope.cancel()


@asynccontextmanager
async def deadline(request: Request, most: float) -> AsyncIterator[Caller]:
    """Context manager: its block is cancelled at the deadline, or when the caller hangs up.

    The time is X-Request-Timeout, at most `most` seconds. Raises DeadlinePassed or
    ClientDisconnect; MalformedRequest where the header is no positive number. What runs on another
    thread is waited for, unless it may be abandoned.
    """
    seconds = seconds_allowed(request, most)
    with anyio.CancelScope(deadline=anyio.current_time() + seconds) as scope:
        caller = Caller(request, scope, scope.deadline)
        try:
            yield caller
        finally:
            caller.leave()
    # Both end the same scope: only who left tells which of the two it was.
    if scope.cancelled_caught:
        raise ClientDisconnect if caller.gone else DeadlinePassed()


def seconds_allowed(request: Request, most: float) -> float:
    """What the header asks for, in seconds, never more than `most`. Raises MalformedRequest."""
    given = request.headers.get(TIMEOUT_HEADER, str(most))
    try:
        seconds = float(given)
    except ValueError:
        seconds = math.nan
    # This way round NaN is refused, too.
    if not seconds > 0:
        raise MalformedRequest(
            f"{TIMEOUT_HEADER} is {given[:40]!r}; it must be a number of seconds above 0",
            limit=most,
        )
    return min(seconds, most)
