"""Photographs answered in a stream: a line of JSON each, or the events of one."""

import json
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request
from fastapi.responses import StreamingResponse
from fastapi.sse import EventSourceResponse
from pydantic import BaseModel

from app.service.answers import problem_after_status
from app.service.api.openapi import LINES
from app.service.api.streaming import (
    KEEP_ALIVE_COMMENT,
    Send,
    StreamMessages,
    event,
    one_line,
    streamed,
)
from app.service.lifecycle import service_of
from weakpoints.errors import WeakpointsError

Work = Callable[[Send], Coroutine[Any, Any, None]]


def line(result: BaseModel) -> bytes:
    """One result as a line of a stream."""
    return one_line(result.model_dump_json()).encode() + b"\n"


async def lines(request: Request, work: Work) -> StreamingResponse:
    """What `work` sends, and a line with the problem where it fails."""

    def failed(error: WeakpointsError) -> bytes:
        return json.dumps({"problem": problem_after_status(request, error)}).encode() + b"\n"

    gone = service_of(request).metrics.gone
    return StreamingResponse(await streamed(work, StreamMessages(failed), gone), media_type=LINES)


async def events(request: Request, work: Work) -> EventSourceResponse:
    """What `work` sends, kept alive meanwhile, and the event `error` where it fails."""

    def failed(error: WeakpointsError) -> bytes:
        return event("error", json.dumps(problem_after_status(request, error)))

    messages = StreamMessages(failed, keep_alive=KEEP_ALIVE_COMMENT)
    gone = service_of(request).metrics.gone
    return EventSourceResponse(await streamed(work, messages, gone))
