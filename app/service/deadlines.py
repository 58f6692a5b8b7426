"""What a caller allows: the time until its deadline, and only while it is there."""

import asyncio
import math
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

from app.errors import DeadlinePassed, MalformedRequest

T = TypeVar("T")
HEADER = "X-Request-Timeout"


def seconds_allowed(request: Request, most: float) -> float:
    """What the header asks for, in seconds, never more than `most`. Raises MalformedRequest where it is no positive number."""
    asked = request.headers.get(HEADER, str(most))
    try:
        seconds = float(asked)
    except ValueError:
        seconds = math.nan
    if not seconds > 0:
        raise MalformedRequest(
            f"{HEADER} is {asked[:40]!r}; it must be a number of seconds above 0", limit=most
        )
    return min(seconds, most)


async def in_time(work: Coroutine[Any, Any, T], seconds: float) -> T:
    """The work's result. Raises DeadlinePassed when the caller's time is over before."""
    try:
        return await asyncio.wait_for(work, seconds)
    except TimeoutError:
        raise DeadlinePassed() from None


async def while_there(request: Request, work: Coroutine[Any, Any, T], seconds: float) -> T:
    """The work's result. The work is cancelled when time is over (DeadlinePassed) or the caller hangs up (ClientDisconnect).

    To be called once the request's body has been read.
    """
    job, gone = asyncio.ensure_future(work), asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait(
            {job, gone}, timeout=max(0.0, seconds), return_when=asyncio.FIRST_COMPLETED
        )
        if job.done():
            return job.result()
        raise (ClientDisconnect if gone.done() else DeadlinePassed())
    finally:
        job.cancel()
        gone.cancel()
        await asyncio.gather(job, gone, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
