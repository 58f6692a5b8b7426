"""Photographs answered in the form that the caller accepts: JSON, lines of it, or events."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, ExitStack
from dataclasses import dataclass
from typing import Any

from fastapi import Request, Response
from pydantic import BaseModel

from app.schemas.answers import OneOfSeveral, Problem, ProblemOfSeveral
from app.service.answers import Answer, Delivery
from app.service.api.openapi import EVENTS, JSON, LINES
from app.service.api.streaming import Send, event, events, line, lines, progress_events
from app.service.http.problems import problem_body
from app.service.http.requests import preferred
from weakpoints.errors import WeakpointsError

OpenDelivery = Callable[[bool], AbstractAsyncContextManager[Delivery[Any]]]
"""The photographs of the request, received: several, or one alone."""


@dataclass(frozen=True)
class AnswerForms:
    """How a route answers. body: of one photograph; of_several: the same beside others; results:
    all of them, in their order.
    """

    body: Callable[[Request, Any], BaseModel]
    of_several: type[OneOfSeveral]
    results: type[BaseModel]

    async def respond(self, request: Request, open_delivery: OpenDelivery) -> Response:
        """One photograph: its answer. Several: `results`. By `Accept`: a line each, or events."""
        wanted = preferred(request.headers.get("accept", ""), JSON, LINES, EVENTS)
        if wanted == LINES:
            return await self._lines(request, open_delivery)
        if wanted == EVENTS:
            return await self._events(request, open_delivery)
        results: dict[int, OneOfSeveral] = {}
        async with open_delivery(True) as delivery:
            # One photograph is answered as itself, with its headers, not as a list of one.
            if len(delivery.uploads) == 1:
                with ExitStack() as reserved:
                    answer = await delivery.answer(delivery.uploads[0], reserved)
                body = self.body(request, answer).model_dump_json()
                return Response(body, media_type=JSON, headers=answer.headers)
            await self._each(request, delivery, lambda one: results.update({one.index: one}))
        # They were answered in any order; a caller matches them to its files by position.
        in_order = self.results(results=[results[index] for index in sorted(results)])
        return Response(in_order.model_dump_json(), media_type=JSON)

    async def _lines(self, request: Request, open_delivery: OpenDelivery) -> Response:
        async def work(send: Send) -> None:
            async with open_delivery(True) as delivery:
                await self._each(request, delivery, lambda result: send(line(result)))

        return await lines(request, work)

    async def _events(self, request: Request, open_delivery: OpenDelivery) -> Response:
        async def work(send: Send) -> None:
            async with open_delivery(False) as delivery:
                progress = progress_events(send)
                with ExitStack() as reserved:
                    answer = await delivery.answer(delivery.uploads[0], reserved, progress)
            send(event("result", self.body(request, answer).model_dump_json()))

        return await events(request, work)

    async def _each(
        self, request: Request, delivery: Delivery[Any], on_result: Callable[[OneOfSeveral], None]
    ) -> None:
        """Calls `on_result` with the result of each photograph, as soon as it is known."""

        def on_answer(index: int, answer: Answer | WeakpointsError) -> None:
            which: dict[str, Any] = {"index": index, "filename": delivery.uploads[index].filename}
            if isinstance(answer, WeakpointsError):
                problem = Problem(**problem_body(request, answer))
                on_result(ProblemOfSeveral(**which, problem=problem))
            else:
                on_result(self.of_several(**which, **dict(self.body(request, answer))))

        await delivery.answers(on_answer)
