"""Photographs answered in the form that the caller accepts: JSON, lines of it, or events."""

import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, ClassVar

import anyio
from fastapi import Request, Response
from pydantic import BaseModel

from app.schemas.answers import OneOfSeveral, Problem, ProblemOfSeveral
from app.service.answers import Delivery
from app.service.api.openapi import EVENTS, JSON, LINES
from app.service.api.streaming import Send, event, events, line, lines, progress_events
from app.service.http.problems import problem_body
from app.service.http.requests import preferred
from app.service.intake.upload import Upload
from weakpoints.errors import DeadlinePassed, WeakpointsError
from weakpoints.progress import Progress, no_progress

log = logging.getLogger("weakpoints")
Body = tuple[BaseModel, dict[str, str]]
"""The answer to one photograph, and headers that go with it where it is the only one."""
OnResult = Callable[[OneOfSeveral], None]


class PhotographAnswers(ABC):
    """The photographs of a request, received, and how its route answers each of them.

    of_several: the answer to one of them beside others; results: all of them, in their order.
    """

    of_several: ClassVar[type[OneOfSeveral]]
    results: ClassVar[type[BaseModel]]

    def __init__(self, delivery: Delivery[Any]) -> None:
        self.delivery = delivery
        self.request = delivery.caller.request

    @abstractmethod
    async def body(self, upload: Upload, progress: Progress = no_progress) -> Body:
        """The answer to one photograph. Raises WeakpointsError."""

    async def bodies(self, on_result: OnResult) -> None:
        """All of them at the same time, as if each had a caller of its own.

        on_result: gets each as soon as it is known. Those that have no answer when the caller's
        time is over have DeadlinePassed.
        """
        # Else the first to be late would take the answers of the others with it.
        self.delivery.caller.scope.deadline = math.inf  # each has the deadline for itself
        async with anyio.create_task_group() as group:
            for index, upload in enumerate(self.delivery.uploads):
                group.start_soon(self._one, index, upload, on_result)

    async def _one(self, index: int, upload: Upload, on_result: OnResult) -> None:
        body: BaseModel | None = None
        problem: WeakpointsError = DeadlinePassed()
        with anyio.CancelScope(deadline=self.delivery.caller.end):
            try:
                body, _ = await self.body(upload)
            except WeakpointsError as error:
                problem = error
            # The others of the request are still answered.
            except Exception as error:
                log.error("photograph %d of a request failed", index, exc_info=error)
                problem = WeakpointsError("something went wrong here; the log has it")
        which: dict[str, Any] = {"index": index, "filename": upload.filename}
        if body is not None:
            on_result(self.of_several(**which, **dict(body)))
        else:
            self.delivery.service.metrics.failed(problem)
            document = Problem(**problem_body(self.request, problem))
            on_result(ProblemOfSeveral(**which, problem=document))


OpenAnswers = Callable[[bool], AbstractAsyncContextManager[PhotographAnswers]]
"""Receives the photographs of a request: several, or one alone. A stream does so in its own task,
whose end is the end of the answer.
"""


async def respond(request: Request, open_answers: OpenAnswers) -> Response:
    """One photograph: its answer. Several: `results`. By `Accept`: a line each, or events."""
    wanted = preferred(request.headers.get("accept", ""), JSON, LINES, EVENTS)
    if wanted == LINES:
        return await _lines(request, open_answers)
    if wanted == EVENTS:
        return await _events(request, open_answers)
    async with open_answers(True) as answers:
        # One photograph is answered as itself, with its headers, not as a list of one.
        if len(answers.delivery.uploads) == 1:
            body, headers = await answers.body(answers.delivery.uploads[0])
            return Response(body.model_dump_json(), media_type=JSON, headers=headers)
        results: dict[int, OneOfSeveral] = {}
        await answers.bodies(lambda result: results.update({result.index: result}))
    # They were answered in any order; a caller matches them to its files by position.
    in_order = answers.results(results=[results[index] for index in sorted(results)])
    return Response(in_order.model_dump_json(), media_type=JSON)


async def _lines(request: Request, open_answers: OpenAnswers) -> Response:
    async def work(send: Send) -> None:
        async with open_answers(True) as answers:
            await answers.bodies(lambda result: send(line(result)))

    return await lines(request, work)


async def _events(request: Request, open_answers: OpenAnswers) -> Response:
    async def work(send: Send) -> None:
        async with open_answers(False) as answers:
            body, _ = await answers.body(answers.delivery.uploads[0], progress_events(send))
        send(event("result", body.model_dump_json()))

    return await events(request, work)
