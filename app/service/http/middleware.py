"""Rules for every request, as pure ASGI: they buffer nothing, and the routes see a hang-up.

The prefix, what is refused before a route sees it, HEAD, redirects, CORS; and around all of them
the request's id, security headers, metrics and log line.
"""

import asyncio
import logging
import posixpath
import time
from urllib.parse import urlsplit

from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.service.http.problems import problem
from app.service.http.requests import QUIET, is_quiet, request_id_of
from app.service.observability.metrics import Metrics
from app.service.observability.tracing import trace_id

log = logging.getLogger("weakpoints")
SECURITY = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}
SAFE = {"GET", "HEAD", "OPTIONS"}  # RFC 9110, 9.2.1: they change nothing
STREAM_TYPES = ("text/event-stream", "application/x-ndjson")
ANY = "*"
EXPOSED = ("X-Request-ID", "Server-Timing", "Cache-Status", "X-Map-Min", "X-Map-Max", "Retry-After")


def add_rules(app: FastAPI, metrics: Metrics, origins: tuple[str, ...], prefix: str) -> None:
    """The innermost rule first. origins: of the pages of other sites that may ask from a browser.

    prefix: see `Prefix`; "" for none.
    """
    app.add_middleware(CrossSiteAndOverload, origins=frozenset(origins))
    app.add_middleware(HeadAndRelativeRedirects)
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=("GET", "POST"),
            allow_headers=("*",),
            expose_headers=EXPOSED,
        )
    app.add_middleware(RequestContext, metrics=metrics)
    if prefix:
        app.add_middleware(Prefix, prefix=prefix)


class Prefix:
    """Answers below a prefix as well: some proxies do not take it away.

    What is sent has no path in it that begins at the root. So all links stay below the prefix, and
    nothing behind this knows it.
    """

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self.app, self.prefix = app, prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if path == self.prefix:  # links are relative to a folder
            to = f"{posixpath.basename(path)}/" + _query(scope["query_string"].decode("latin-1"))
            return await Response(status_code=307, headers={"location": to})(scope, receive, send)
        if path.startswith(self.prefix + "/"):
            scope = {**scope, "path": path[len(self.prefix) :]}
        await self.app(scope, receive, send)


class CrossSiteAndOverload:
    """Refuses what comes from pages of other sites.

    Where connections are too many, it refuses all but probes.
    """

    def __init__(self, app: ASGIApp, origins: frozenset[str]) -> None:
        self.app, self.origins = app, origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        answer: Response | None = None
        if scope["state"].get("crowded") and not is_quiet(scope):
            detail = "too many connections are busy"
            answer = problem(
                Request(scope), 503, "unavailable", "Unavailable", detail, retry_after=1
            )
        elif scope["method"] not in SAFE and self._cross_site(Headers(scope=scope)):
            detail = "a page of another site sent this; its origin is not one that may"
            answer = problem(Request(scope), 403, "cross-site", "Cross-site request", detail)
        await (answer or self.app)(scope, receive, send)

    def _cross_site(self, headers: Headers) -> bool:
        """Whether a page of another site sent it, as Go's net/http.CrossOriginProtection says.

        A form needs no consent by CORS to be sent. So it is refused here.
        """
        origin, site = headers.get("origin", ""), headers.get("sec-fetch-site", "")
        # Allowed sites first: browsers call them cross-site as well.
        if origin and {origin, ANY} & self.origins:
            return False
        if site:
            return site not in {"same-origin", "none"}
        return bool(origin) and urlsplit(origin).netloc != headers.get("host", "")


class HeadAndRelativeRedirects:
    """HEAD is GET without a body; redirects are relative.

    So redirects stay under a proxy's prefix. A caller that waits for `100 Continue` and gets its
    answer instead may leave the body out. So the connection has no use after it (RFC 9110, 10.1.1).
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        awaits_continue = Headers(scope=scope).get("expect", "").lower() == "100-continue"

        async def receive_body() -> Message:
            nonlocal awaits_continue
            awaits_continue = False
            return await receive()

        async def send_mended(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if awaits_continue:
                    headers["connection"] = "close"
                if "location" in headers:
                    headers["location"] = relative(scope["path"], headers["location"])
                if headers.get("content-type", "").startswith(STREAM_TYPES):
                    headers["x-accel-buffering"] = "no"  # nginx passes them on as they come
            await send(message)

        # The server looks at its own scope: there it is HEAD still, and no body is sent.
        inner = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope
        try:
            await self.app(inner, receive_body, send_mended)
        finally:
            if "route" in inner:
                scope["route"] = inner["route"]  # the log and the metrics ask the outer scope


def relative(path: str, location: str) -> str:
    """The way from `path` to an address of the same service, `location`."""
    to = urlsplit(location)
    folder, name = posixpath.split(to.path)
    way = posixpath.relpath(folder, posixpath.dirname(path))
    return posixpath.join(way, name) + _query(to.query)


def _query(query: str) -> str:
    return f"?{query}" if query else ""


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
            # Probes come every second from each of several balancers.
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
