"""`/detect`: photographs come in, JSON goes out. `/model` says which network answers."""

from contextlib import ExitStack
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from app.schemas.answers import Detection, ModelCard, Result, Results, model_card
from app.schemas.queries import DetectQuery
from app.service.answers import delivered, detection_of, detection_results
from app.service.api.openapi import (
    EVENTS,
    FILES_SCHEMA,
    JSON,
    LINES,
    TIMED_HEADERS,
    photographs_body,
    streams,
)
from app.service.api.streaming import Send, event, events, line, lines, progress_events
from app.service.http.problems import RESPONSES
from app.service.http.requests import preferred, reject_repeated_options
from app.service.lifecycle import service_of

routes = APIRouter()


@routes.post(
    "/detect",
    operation_id="detect",
    responses={**RESPONSES, 200: {"content": streams(), "headers": TIMED_HEADERS}},
    dependencies=[Depends(reject_repeated_options)],
    openapi_extra=photographs_body(FILES_SCHEMA, DetectQuery),
    response_model=Detection | Results,
)
async def detect(request: Request, query: Annotated[DetectQuery, Query()]) -> Response:
    """Keypoints of the main object of each photograph, with a confidence each.

    One photograph: its answer. Several, as parts of one form: `results`, in the order in which
    they were sent. Each is answered or refused by itself. With `Accept: application/x-ndjson` each
    of them is a line, sent as soon as it is known. With `Accept: text/event-stream` the answer to
    one photograph is a stream of events: `progress`, then `result` with the same JSON, or `error`.
    """
    wanted = preferred(request.headers.get("accept", ""), JSON, LINES, EVENTS)
    if wanted == LINES:
        return await _detection_lines(request, query)
    if wanted == EVENTS:
        return await _detection_events(request, query)
    results: dict[int, Result] = {}
    async with delivered(request, query, several=True) as delivery:
        # One photograph is answered as itself, with its headers, not as a list of one.
        if len(delivery.uploads) == 1:
            with ExitStack() as reserved:
                answer = await delivery.answer(delivery.uploads[0], reserved)
            body = detection_of(request, answer).model_dump_json()
            return Response(body, media_type=JSON, headers=answer.headers)
        await detection_results(
            request, delivery, lambda result: results.update({result.index: result})
        )
    # They were answered in any order; a caller matches them to its files by position.
    in_order = Results(results=[results[index] for index in sorted(results)])
    return Response(in_order.model_dump_json(), media_type=JSON)


async def _detection_lines(request: Request, query: DetectQuery) -> Response:
    """A line of JSON for each photograph, whatever becomes of it."""

    async def work(send: Send) -> None:
        async with delivered(request, query, several=True) as delivery:
            await detection_results(
                request,
                delivery,
                lambda result: send(line(result)),
            )

    return await lines(request, work)


async def _detection_events(request: Request, query: DetectQuery) -> Response:
    """The progress of one photograph, and its answer, as server-sent events."""

    async def work(send: Send) -> None:
        async with delivered(request, query) as delivery:
            progress = progress_events(send)
            with ExitStack() as reserved:
                answer = await delivery.answer(delivery.uploads[0], reserved, progress)
        send(event("result", detection_of(request, answer).model_dump_json()))

    return await events(request, work)


@routes.get("/model", operation_id="model", responses={401: RESPONSES[401], 503: RESPONSES[503]})
async def model(request: Request) -> ModelCard:
    """The network that answers, and its labels."""
    return model_card(service_of(request).pipeline.detector.model)
