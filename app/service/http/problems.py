"""Errors as RFC 9457 problem+json, and the request id on every answer.

The middleware is pure ASGI: it buffers nothing, and the routes see a hang-up.
"""

import asyncio
import json
import logging
import time
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.schemas.answers import Problem
from app.schemas.queries import bad_option
from app.service.http.paths import QUIET, is_quiet
from app.service.http.request_ids import request_id_of
from app.service.observability.metrics import Metrics
from app.service.observability.tracing import trace_id
from weakpoints.errors import WeakpointsError

log = logging.getLogger("weakpoints")
SECURITY = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}
MEDIA_TYPE = "application/problem+json"
REFUSALS = {
    400: "Malformed request",
    401: "No valid key",
    403: "A page of another site sent it, see WEAKPOINTS_ORIGINS",
    408: "The body came too slowly",
    413: "Too many bytes, pixels or photographs",
    415: "Not a supported image type",
    422: "Bad image or option",
    429: "Queue full, see Retry-After",
    500: "Internal error",
    503: "Loading, stopping or device lost, see Retry-After",
    504: "Deadline passed",
}
HEADERS: dict[int, dict[str, Any]] = {
    401: {"WWW-Authenticate": {"required": True, "schema": {"type": "string"}}},
    429: {"Retry-After": {"required": True, "schema": {"type": "integer", "minimum": 1}}},
    503: {"Retry-After": {"required": True, "schema": {"type": "integer", "minimum": 1}}},
}
RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {
        "description": what,
        "content": {MEDIA_TYPE: {"schema": Problem.model_json_schema()}},
        "headers": HEADERS.get(status, {}),
    }
    for status, what in REFUSALS.items()
}
V1 = "/v1/models"  # KServe's, whose clients read `error`, and of `application/json` alone
V1_RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {**told, "content": {"application/json": {"schema": Problem.model_json_schema()}}}
    for status, told in (*RESPONSES.items(), (404, {"description": "No such model"}))
}


class Envelope:
    """Around every request: its id, security headers, metrics and log line.

    An error that nobody foresaw becomes a 500 without details.
    """

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


def add_problems(app: FastAPI, metrics: Metrics) -> None:
    """Adds the middleware, and a handler for each kind of error."""

    async def counted(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, WeakpointsError)
        if not is_quiet(request.scope):
            metrics.failed(error)
        return await _deliberate(request, error)

    async def gone(request: Request, error: Exception) -> JSONResponse:
        """The status is for the log; the caller does not read it any more."""
        metrics.gone()
        return problem(
            request, 499, "client-closed-request", "Client closed request", "the caller hung up"
        )

    app.add_exception_handler(WeakpointsError, counted)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(ClientDisconnect, gone)
    app.add_middleware(Envelope, metrics=metrics)


def problem(
    request: Request, status: int, slug: str, title: str, detail: str, **figures: Any
) -> JSONResponse:
    """A problem+json answer with `figures` as further members."""
    body = {
        "type": f"urn:weakpoints:problem:{slug}",
        "title": title,
        "status": status,
        "detail": detail,
        "instance": request.scope["path"],
        "request_id": request.state.request_id,
    }
    media_type = MEDIA_TYPE
    if V1 in request.scope["path"]:
        body["error"], media_type = detail, "application/json"
    headers = {"Retry-After": str(figures["retry_after"])} if "retry_after" in figures else {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(body | figures, status, headers, media_type)


def problem_body(request: Request, error: WeakpointsError) -> dict[str, Any]:
    """The problem of an error, for a stream whose status has been sent already."""
    answer = problem(request, error.status, error.slug, error.title, error.detail, **error.figures)
    body: dict[str, Any] = json.loads(bytes(answer.body))
    return body


async def _deliberate(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, WeakpointsError)
    return problem(request, error.status, error.slug, error.title, error.detail, **error.figures)


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    """The first option that is unknown or out of range, with its range and what was given."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    known = [parameter["name"] for parameter in _parameters(request)]
    return await _deliberate(request, bad_option(first, known))


def _parameters(request: Request) -> list[dict[str, str]]:
    operation = request.app.openapi()["paths"][request.scope["route"].path]["post"]
    return [each for each in operation["parameters"] if each["in"] == "query"]


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    answer = problem(
        request, error.status_code, f"http-{error.status_code}", error.detail, error.detail
    )
    answer.headers.update(error.headers or {})
    return answer
