"""Answers that are sent in chunks: server-sent events, lines of JSON, and large files."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from fastapi import Request
from fastapi.responses import StreamingResponse
from fastapi.sse import EventSourceResponse, format_sse_event
from pydantic import BaseModel
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope
from starlette.types import Send as SendMessage

from app.service.answers import problem_after_status
from app.service.api.openapi import LINES
from app.service.lifecycle import service_of
from weakpoints.errors import WeakpointsError
from weakpoints.progress import Progress

log = logging.getLogger("weakpoints")
KEEP_ALIVE_SECONDS = 15.0  # seconds after which a comment keeps proxies from closing the connection
CHUNK_BYTES = 2**18  # bytes of a large answer that are sent at once
KEEP_ALIVE_COMMENT = format_sse_event(comment="still waiting")
Send = Callable[[bytes], None]
"""Sends a chunk of the answer; for any thread."""
Work = Callable[[Send], Coroutine[Any, Any, None]]
Failed = Callable[[dict[str, Any]], bytes]
"""A problem document as a chunk of the stream."""
BREAKS = {ord(mark): f"\\u{ord(mark):04x}" for mark in "\x7f\x85\u2028\u2029"}


def one_line(data: str) -> str:
    """The same JSON without what readers of text take for the end of a line."""
    return data.translate(BREAKS)


def event(name: str, data: str) -> bytes:
    """A server-sent event; `data` is JSON."""
    return format_sse_event(event=name, data_str=one_line(data))


def progress_events(send: Send) -> Progress:
    """Each call is an event `progress` (stage, done, total)."""

    def progress(stage: str, done: int, total: int) -> None:
        send(event("progress", json.dumps({"stage": stage, "done": done, "total": total})))

    return progress


def line(result: BaseModel) -> bytes:
    """One result as a line of a stream."""
    return one_line(result.model_dump_json()).encode() + b"\n"


async def lines(request: Request, work: Work) -> StreamingResponse:
    """What `work` sends, and a line with the problem where it fails."""

    def failed(problem: dict[str, Any]) -> bytes:
        return json.dumps({"problem": problem}).encode() + b"\n"

    return StreamingResponse(await streamed(request, work, failed), media_type=LINES)


async def events(request: Request, work: Work) -> EventSourceResponse:
    """What `work` sends, kept alive meanwhile, and the event `error` where it fails."""

    def failed(problem: dict[str, Any]) -> bytes:
        return event("error", json.dumps(problem))

    return EventSourceResponse(await streamed(request, work, failed, KEEP_ALIVE_COMMENT))


async def streamed(
    request: Request, work: Work, failed: Failed, keep_alive: bytes = b""
) -> AsyncIterator[bytes]:
    """What `work` sends, as it comes; failed: makes the last chunk where it fails.

    To be awaited before the answer begins: what `work` raises before it has sent anything is
    raised here, and gets a status. Closing the iterator early cancels the work.
    keep_alive: sent when nothing came for KEEP_ALIVE_SECONDS, if anything may be.
    """
    loop = asyncio.get_running_loop()
    chunks: asyncio.Queue[bytes | None] = asyncio.Queue()

    def send(chunk: bytes) -> None:
        loop.call_soon_threadsafe(chunks.put_nowait, chunk)

    job = asyncio.create_task(work(send))
    # The mark of the end: the queue is read without asking whether the job still runs.
    job.add_done_callback(lambda _: chunks.put_nowait(None))
    try:
        first = await chunks.get()
        # Nothing was sent, so that an error can still have a status of its own.
        if first is None:
            job.result()
        return _sent_chunks(first, chunks, job, request, failed, keep_alive)
    except BaseException:
        await _end_job(job)
        raise
    finally:
        del job  # whose error's traceback has this frame: a circle would keep its picture


async def _sent_chunks(
    chunk: bytes | None,
    chunks: asyncio.Queue[bytes | None],
    job: asyncio.Task[None],
    request: Request,
    failed: Failed,
    keep_alive: bytes,
) -> AsyncIterator[bytes]:
    """`chunk`, then those of the queue; None is the last: the job is done."""
    gone = service_of(request).metrics.gone
    try:
        while chunk is not None:
            if chunk:
                yield chunk
            chunk = await _next(chunks, keep_alive)
        job.result()
    except (asyncio.CancelledError, GeneratorExit):
        gone()
        raise
    except ClientDisconnect:
        gone()
    except WeakpointsError as error:
        yield failed(problem_after_status(request, error))
    except Exception as error:
        log.error("a stream failed", exc_info=error)
        unforeseen = WeakpointsError("something went wrong here; the log has it")
        yield failed(problem_after_status(request, unforeseen))
    finally:
        await _end_job(job)
        del job


async def _next(chunks: asyncio.Queue[bytes | None], keep_alive: bytes) -> bytes | None:
    try:
        return await asyncio.wait_for(chunks.get(), KEEP_ALIVE_SECONDS)
    except TimeoutError:
        return keep_alive


async def _end_job(job: asyncio.Task[None]) -> None:
    job.cancel()
    await asyncio.gather(job, return_exceptions=True)


class ChunkedResponse(Response):
    """A large answer, sent as fast as it is read.

    The next chunk is sent when the system has taken the one before. So the end of sending is the
    end of what the answer holds in memory.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: SendMessage) -> None:
        start = {"status": self.status_code, "headers": self.raw_headers}
        await send({"type": "http.response.start", **start})
        for at in range(0, max(1, len(self.body)), CHUNK_BYTES):
            end = at + CHUNK_BYTES
            chunk = {"body": self.body[at:end], "more_body": end < len(self.body)}
            await send({"type": "http.response.body", **chunk})
