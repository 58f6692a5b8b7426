"""In front of each of Ray Serve's proxies: tells what Ray refuses or loses as the service does.

A detection changes nothing. So whatever was lost with its replica may be asked again: 503. Nothing
here imports torch, for Ray gives a proxy five seconds to be there.
"""

import logging
import math

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.service.http.problem_document import MEDIA_TYPE, problem_document
from app.service.http.requests import request_id_of
from weakpoints.errors import DeadlinePassed, QueueFull, Unavailable, UploadTooSlow, WeakpointsError

log = logging.getLogger("weakpoints")
OURS = "x-content-type-options"  # on every answer of the service, and on none of Ray's
RAY_S_OWN = "/-/"  # /-/healthz and /-/routes
DEADLINE_GRACE = (
    0.5  # seconds after a deadline in which the service may still say itself that it has passed
)
LOST = Unavailable("the replica that had this request was lost; ask again", retry_after=1)
RAY_REFUSALS: dict[int, WeakpointsError] = {
    429: QueueFull(
        "every replica is busy and the queue before them is full; try again in 1 s", retry_after=1
    ),
    408: DeadlinePassed(),
    404: Unavailable("the service is being deployed", retry_after=5),
    503: Unavailable("no replica can answer now", retry_after=5),
}


def middlewares() -> list[Middleware]:
    """What RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH names."""
    return [Middleware(RayErrors)]


class RayErrors:
    """Stands before the proxy and mends its answers.

    The caller's deadline is Ray's, too. Answers that are not the service's become problem+json. No
    answer becomes 503.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(RAY_S_OWN):
            return await self.app(scope, receive, send)
        request_id = _prepare(MutableHeaders(scope=scope))
        started, replaced, sent = False, False, False

        async def watched() -> Message:
            nonlocal sent
            message = await receive()
            sent = sent or (message["type"] == "http.request" and not message.get("more_body"))
            return message

        async def forward(message: Message) -> None:
            nonlocal started, replaced
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                # A second replica waits in vain for a body that the first one took with it.
                bereft = sent and message["status"] == UploadTooSlow.status
                replaced = bereft or OURS not in headers
                headers["x-request-id"] = request_id  # Ray appends its own to the service's
            if not replaced:
                started = True
                await send(message)
            elif message["type"] == "http.response.start":
                started = True
                refusal = LOST if bereft else RAY_REFUSALS.get(message["status"], LOST)
                await _ray_problem(refusal, scope["path"], request_id)(scope, receive, send)

        try:
            await self.app(scope, watched, forward)
        except Exception as error:
            log.error("request %s failed in Ray's proxy", request_id, exc_info=error)
        if not started:
            await _ray_problem(LOST, scope["path"], request_id)(scope, receive, send)


def _prepare(headers: MutableHeaders) -> str:
    """The request's id, the caller's if it is harmless.

    Ray's own headers are not for callers: they could switch its timeout off. They are taken out.
    """
    headers["x-request-id"] = request_id = request_id_of(headers)
    del headers["x-request-disconnect-disabled"], headers["x-request-timeout-seconds"]
    if seconds := _seconds_asked_for(headers):
        headers["x-request-timeout-seconds"] = f"{seconds + DEADLINE_GRACE:.3f}"
    return request_id


def _seconds_asked_for(headers: Headers) -> float | None:
    try:
        seconds = float(headers.get("x-request-timeout", "nan"))
    except ValueError:
        return None
    return seconds if 0 < seconds < math.inf else None


def _ray_problem(error: WeakpointsError, path: str, request_id: str) -> JSONResponse:
    place = {"instance": path, "request_id": request_id}
    body = problem_document(error.status, error.slug, error.title, error.detail, **place)
    headers = {
        "X-Request-ID": request_id,
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
    }
    if "retry_after" in error.figures:
        headers["Retry-After"] = str(error.figures["retry_after"])
    return JSONResponse(body | error.figures, error.status, headers, MEDIA_TYPE)
