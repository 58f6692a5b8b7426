"""Around every request: its id, security headers, metrics and log line.

Pure ASGI: it buffers nothing, and the routes see a hang-up.
"""

import asyncio
import logging
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.service.http.paths import QUIET
from app.service.http.problems import problem
from app.service.http.request_ids import request_id_of
from app.service.observability.metrics import Metrics
from app.service.observability.tracing import trace_id

log = logging.getLogger("weakpoints")
SECURITY = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


class RequestContext:
    """An error that nobody foresaw becomes a 500 without details."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        request_id = request_id_of(Headers(scope=scope))
        scope.setdefault("state", {})["request_id"] = request_id

        started, status, start = False, 500, time.perf_counter()

        async def send_with_id(message: Message) -> None:
            nonlocal started, status
            started = True
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message).update({"x-request-id": request_id, **SECURITY})
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        except asyncio.CancelledError:  # the server stops, and the time that it gave is over
            if started:
                raise
            await problem(
                Request(scope),
                503,
                "unavailable",
                "Unavailable",
                "the service stopped before this was done",
                retry_after=5,
            )(scope, receive, send_with_id)
        except Exception as error:
            log.error("request %s failed", request_id, exc_info=error)
            if started:
                raise
            detail = "something went wrong here; the log has it under the request id"
            await problem(Request(scope), 500, "internal-error", "Internal error", detail)(
                scope, receive, send_with_id
            )
        finally:
            seconds = time.perf_counter() - start
            route = getattr(scope.get("route"), "path", "unmatched")
            self.metrics.requests.labels(route, status).observe(seconds)
            if route not in QUIET:
                traced = {"trace_id": trace_id()} if trace_id() else {}
                log.info(
                    "request",
                    extra={
                        "request_id": request_id,
                        **traced,
                        "route": route,
                        "status": status,
                        "seconds": round(seconds, 4),
                    },
                )
