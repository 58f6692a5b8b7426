"""Named points as JSON, as lines of it, or as events: the three ways in which `/detect` answers."""

from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from functools import partial

from fastapi import Request, Response

from app.schemas.answers import Problem, ProblemOfSeveral
from app.schemas.landmarks import NamedPointsOfSeveral, NamedResult, NamedResults
from app.schemas.queries import LandmarksQuery
from app.service.answers import Answer, Delivery, delivered
from app.service.api.openapi import EVENTS, JSON, LINES
from app.service.api.streaming import Send, event, events, line, lines, progress_events
from app.service.http.problems import problem_body
from app.service.http.requests import preferred
from app.service.named_delivery import NamedAnswer, NamedDelivery, told, with_finder
from weakpoints.errors import WeakpointsError
from weakpoints.landmarks.named import NamedPoints

Prepare = Callable[[Delivery[LandmarksQuery]], Awaitable[NamedPoints]]
"""What finds the landmarks: of a set that is kept, or of references that came along."""


async def answered(
    request: Request, query: LandmarksQuery, prepare: Prepare, companions: dict[str, int]
) -> Response:
    """The answer in the form that the caller accepts. companions: see `read_uploads`."""
    wanted = preferred(request.headers.get("accept", ""), JSON, LINES, EVENTS)
    if wanted == LINES:
        return await _lines(request, query, prepare, companions)
    if wanted == EVENTS:
        return await _events(request, query, prepare, companions)
    results: dict[int, NamedResult] = {}
    async with delivered(request, query, True, companions) as delivery:
        named = with_finder(delivery, await prepare(delivery))
        if len(delivery.uploads) == 1:
            with ExitStack() as reserved:
                answer = await named.answer(delivery.uploads[0], reserved)
            body = told(answer, named, request.state.request_id).model_dump_json()
            return Response(body, media_type=JSON, headers=answer.headers)
        await _results(request, named, lambda result: results.update({result.index: result}))
    in_order = NamedResults(results=[results[index] for index in sorted(results)])
    return Response(in_order.model_dump_json(), media_type=JSON)


async def _lines(
    request: Request, query: LandmarksQuery, prepare: Prepare, companions: dict[str, int]
) -> Response:
    """A line of JSON for each photograph, whatever becomes of it."""

    async def work(send: Send) -> None:
        async with delivered(request, query, True, companions) as delivery:
            named = with_finder(delivery, await prepare(delivery))
            await _results(
                request,
                named,
                lambda result: send(line(result)),
            )

    return await lines(request, work)


async def _events(
    request: Request, query: LandmarksQuery, prepare: Prepare, companions: dict[str, int]
) -> Response:
    """The progress of one photograph, and its answer, as server-sent events."""

    async def work(send: Send) -> None:
        async with delivered(request, query, False, companions) as delivery:
            named = with_finder(delivery, await prepare(delivery))
            with ExitStack() as reserved:
                answer = await named.answer(delivery.uploads[0], reserved, progress_events(send))
        body = told(answer, named, request.state.request_id).model_dump_json()
        send(event("result", body))

    return await events(request, work)


async def _results(
    request: Request, delivery: NamedDelivery, on_result: Callable[[NamedResult], None]
) -> None:
    """Calls `on_result` with the result of each photograph, as soon as it is known."""
    await delivery.answers(partial(_result, request, delivery, on_result))


def _result(
    request: Request,
    delivery: NamedDelivery,
    on_result: Callable[[NamedResult], None],
    index: int,
    answer: Answer | WeakpointsError,
) -> None:
    which = {"index": index, "filename": delivery.uploads[index].filename}
    if isinstance(answer, NamedAnswer):
        body = told(answer, delivery, request.state.request_id)
        on_result(NamedPointsOfSeveral(**which, **dict(body)))
    elif isinstance(answer, WeakpointsError):
        on_result(ProblemOfSeveral(**which, problem=Problem(**problem_body(request, answer))))
