"""Errors of routes as RFC 9457 problem+json."""

import json
import logging
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from app.schemas.answers import Problem
from app.schemas.queries import bad_option
from app.service.http.problem_document import MEDIA_TYPE, problem_document
from app.service.http.requests import is_quiet
from app.service.observability.metrics import Metrics
from weakpoints.errors import WeakpointsError

log = logging.getLogger("weakpoints")
MEANINGS = {
    400: "Malformed request",
    401: "No valid key",
    403: "A page of another site sent it, see WEAKPOINTS_ORIGINS; or it is not allowed here",
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
        "description": meaning,
        "content": {MEDIA_TYPE: {"schema": Problem.model_json_schema()}},
        "headers": HEADERS.get(status, {}),
    }
    for status, meaning in MEANINGS.items()
}
V1 = "/v1/models"  # KServe's, whose clients read `error`, and of `application/json` alone
LABEL_STUDIO = "/labelstudio"  # which knows HTTP Basic alone
V1_RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {**response, "content": {"application/json": {"schema": Problem.model_json_schema()}}}
    for status, response in (*RESPONSES.items(), (404, {"description": "No such model"}))
}


def add_problems(app: FastAPI, metrics: Metrics) -> None:
    """Adds a handler for each kind of error."""

    async def refused(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, WeakpointsError)
        # A probe that gets its 503 each second would drown the refusals of callers.
        if not is_quiet(request.scope):
            metrics.failed(error)
        return await _deliberate(request, error)

    async def gone(request: Request, error: Exception) -> JSONResponse:
        """The status is for the log; the caller does not read it any more."""
        metrics.gone()
        return problem(
            request, 499, "client-closed-request", "Client closed request", "the caller hung up"
        )

    app.add_exception_handler(WeakpointsError, refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(ClientDisconnect, gone)


def problem(
    request: Request, status: int, slug: str, title: str, detail: str, **figures: Any
) -> JSONResponse:
    """A problem+json answer with `figures` as further members."""
    place = {"instance": request.scope["path"], "request_id": request.state.request_id}
    body = problem_document(status, slug, title, detail, **place)
    media_type = MEDIA_TYPE
    # KServe's clients read `error`, and only of plain JSON.
    if V1 in request.scope["path"]:
        body["error"], media_type = detail, "application/json"
    headers = {"Retry-After": str(figures["retry_after"])} if "retry_after" in figures else {}
    if status == 401:
        basic = request.scope["path"].startswith(LABEL_STUDIO)
        headers["WWW-Authenticate"] = 'Basic realm="weakpoints"' if basic else "Bearer"
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
    # One at a time: a second message would often only follow from the first.
    first = error.errors()[0]
    known = [parameter["name"] for parameter in _query_parameters(request)]
    return await _deliberate(request, bad_option(first, known))


def _query_parameters(request: Request) -> list[dict[str, str]]:
    operation = request.app.openapi()["paths"][request.scope["route"].path]["post"]
    return [parameter for parameter in operation["parameters"] if parameter["in"] == "query"]


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    answer = problem(
        request, error.status_code, f"http-{error.status_code}", error.detail, error.detail
    )
    answer.headers.update(error.headers or {})
    return answer
