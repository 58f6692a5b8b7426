"""A detection as server-sent events.

`progress` (stage, done, total), then `result`, or `error` with the problem.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from fastapi.sse import format_sse_event
from starlette.requests import ClientDisconnect

from app.errors import WeakpointsError
from app.progress import Progress

log = logging.getLogger("weakpoints")
KEEP_ALIVE = 15.0  # seconds after which a comment keeps proxies from closing the connection


async def streamed(
    work: Callable[[Progress], Coroutine[Any, Any, str]],
    problem: Callable[[WeakpointsError], str],
    gone: Callable[[], None],
) -> AsyncIterator[bytes]:
    """The events of `work`, whose result is the JSON of `result`; its Progress is for any thread.

    To be awaited before the answer begins: what `work` raises before its first progress is raised
    here, and gets a status. Later errors become an `error` event, made by `problem`. Closing the
    iterator early cancels the work; then, or when the caller hangs up, `gone` is called.
    """
    loop = asyncio.get_running_loop()
    events: asyncio.Queue[bytes | None] = asyncio.Queue()

    def progress(stage: str, done: int, total: int) -> None:
        data = json.dumps({"stage": stage, "done": done, "total": total})
        event = format_sse_event(event="progress", data_str=data)
        loop.call_soon_threadsafe(events.put_nowait, event)

    job = asyncio.create_task(work(progress))
    job.add_done_callback(lambda _: events.put_nowait(None))
    try:
        first = await events.get()
        if first is None:
            job.result()
    except BaseException:
        await _end(job)
        raise
    return _events(first, events, job, problem, gone)


async def _events(
    event: bytes | None,
    events: asyncio.Queue[bytes | None],
    job: asyncio.Task[str],
    problem: Callable[[WeakpointsError], str],
    gone: Callable[[], None],
) -> AsyncIterator[bytes]:
    """`event`, then those of the queue; None is the last: the job is done."""
    try:
        while event is not None:
            yield event
            event = await _next(events)
        yield format_sse_event(event="result", data_str=job.result())
    except (asyncio.CancelledError, GeneratorExit):
        gone()
        raise
    except ClientDisconnect:
        gone()
    except WeakpointsError as error:
        yield format_sse_event(event="error", data_str=problem(error))
    except Exception as error:
        log.error("a stream failed", exc_info=error)
        unforeseen = WeakpointsError("something went wrong here; the log has it")
        yield format_sse_event(event="error", data_str=problem(unforeseen))
    finally:
        await _end(job)


async def _next(events: asyncio.Queue[bytes | None]) -> bytes | None:
    try:
        return await asyncio.wait_for(events.get(), KEEP_ALIVE)
    except TimeoutError:
        return format_sse_event(comment="still waiting")


async def _end(job: asyncio.Task[str]) -> None:
    job.cancel()
    await asyncio.gather(job, return_exceptions=True)
