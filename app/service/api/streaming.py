"""Answers that come bit by bit: server-sent events, or lines of JSON."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from fastapi.sse import format_sse_event
from starlette.requests import ClientDisconnect

from weakpoints.errors import WeakpointsError
from weakpoints.progress import Progress

log = logging.getLogger("weakpoints")
KEEP_ALIVE = 15.0  # seconds after which a comment keeps proxies from closing the connection
STILL_WAITING = format_sse_event(comment="still waiting")
Emit = Callable[[bytes], None]
"""Sends a piece of the answer; for any thread."""


def event(name: str, data: str) -> bytes:
    """A server-sent event; `data` is JSON."""
    return format_sse_event(event=name, data_str=data)


def progress_events(emit: Emit) -> Progress:
    """Each call is an event `progress` (stage, done, total)."""

    def progress(stage: str, done: int, total: int) -> None:
        emit(event("progress", json.dumps({"stage": stage, "done": done, "total": total})))

    return progress


@dataclass(frozen=True)
class Words:
    """What a stream says beside what its work emits.

    failed: the last piece where the work fails. waiting: what is said when nothing came for
    KEEP_ALIVE seconds, if anything may be.
    """

    failed: Callable[[WeakpointsError], bytes]
    waiting: bytes = b""


async def streamed(
    work: Callable[[Emit], Coroutine[Any, Any, None]], words: Words, gone: Callable[[], None]
) -> AsyncIterator[bytes]:
    """What `work` emits, as it comes.

    To be awaited before the answer begins: what `work` raises before it has emitted anything is
    raised here, and gets a status. Closing the iterator early cancels the work; then, or when the
    caller hangs up, `gone` is called.
    """
    loop = asyncio.get_running_loop()
    pieces: asyncio.Queue[bytes | None] = asyncio.Queue()

    def emit(piece: bytes) -> None:
        loop.call_soon_threadsafe(pieces.put_nowait, piece)

    job = asyncio.create_task(work(emit))
    job.add_done_callback(lambda _: pieces.put_nowait(None))
    try:
        first = await pieces.get()
        if first is None:
            job.result()
        return _pieces(first, pieces, job, words, gone)
    except BaseException:
        await _end(job)
        raise
    finally:
        del job  # whose error's traceback has this frame: a circle would keep its picture


async def _pieces(
    piece: bytes | None,
    pieces: asyncio.Queue[bytes | None],
    job: asyncio.Task[None],
    words: Words,
    gone: Callable[[], None],
) -> AsyncIterator[bytes]:
    """`piece`, then those of the queue; None is the last: the job is done."""
    try:
        while piece is not None:
            if piece:
                yield piece
            piece = await _next(pieces, words.waiting)
        job.result()
    except (asyncio.CancelledError, GeneratorExit):
        gone()
        raise
    except ClientDisconnect:
        gone()
    except WeakpointsError as error:
        yield words.failed(error)
    except Exception as error:
        log.error("a stream failed", exc_info=error)
        yield words.failed(WeakpointsError("something went wrong here; the log has it"))
    finally:
        await _end(job)
        del job


async def _next(pieces: asyncio.Queue[bytes | None], waiting: bytes) -> bytes | None:
    try:
        return await asyncio.wait_for(pieces.get(), KEEP_ALIVE)
    except TimeoutError:
        return waiting


async def _end(job: asyncio.Task[None]) -> None:
    job.cancel()
    await asyncio.gather(job, return_exceptions=True)
