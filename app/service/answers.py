"""From a request to what was found on its photographs. Each goes its own way, whoever sent it."""

import logging
import math
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Generic, TypeVar

import anyio
import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request

from app.schemas.answers import (
    Detection,
    detection,
)
from app.schemas.queries import Strict, options_of
from app.service.http.deadlines import Caller, deadline
from app.service.http.problems import problem_body
from app.service.http.requests import caller_of
from app.service.intake.upload import Upload, Wanted, read_uploads
from app.service.lifecycle import Service, service_of
from app.service.observability.tracing import trace_stages
from app.service.scheduling.photographs import PhotographRequest
from weakpoints.errors import BadOption, DeadlinePassed, WeakpointsError
from weakpoints.method.localization import Localization
from weakpoints.method.stopwatch import Stopwatch
from weakpoints.options import ResolvedOptions
from weakpoints.progress import Progress, no_progress

log = logging.getLogger("weakpoints")
QueryType = TypeVar("QueryType", bound=Strict)


@dataclass(frozen=True)
class Answer:
    """What was found on a photograph; `known`: by the cache.

    image: its pixels, (H, W, 3) or (H, W, 4); None where the cache knew the answer and they were
    not needed. timing_ms: milliseconds of each stage, and `total`.
    """

    image: NDArray[np.uint8] | None
    localization: Localization
    known: bool
    timing_ms: dict[str, float]

    @property
    def headers(self) -> dict[str, str]:
        """Server-Timing and Cache-Status, as browsers and proxies read them."""
        laps = [f"{stage};dur={duration:.1f}" for stage, duration in self.timing_ms.items()]
        cache = "weakpoints; hit" if self.known else "weakpoints; fwd=miss"
        return {"Server-Timing": ", ".join(laps), "Cache-Status": cache}


@dataclass(frozen=True)
class Delivery(Generic[QueryType]):
    """The photographs of one request, received, while their caller waits; `who` is its name.

    query: the options of the query, and those that came as fields of the form; options: the same,
    for the network. companions: files of other names, such as references.
    """

    query: QueryType
    options: ResolvedOptions
    uploads: list[Upload]
    companions: Mapping[str, list[Upload]]
    service: Service
    caller: Caller
    who: str
    clock: Stopwatch

    async def answer(
        self,
        upload: Upload,
        reserved: ExitStack,
        progress: Progress = no_progress,
        pixels: bool = False,
    ) -> Answer:
        """One photograph, decoded and detected. Raises WeakpointsError.

        reserved: to be closed when the answer's picture is no longer needed. pixels: whether it is
        needed where the cache knows the answer.
        """
        pipeline, clock = self.service.pipeline, replace(self.clock, laps=[*self.clock.laps])
        # The file's bytes go as soon as it is decoded: the wait for the device holds pixels alone.
        with upload as data:
            request = PhotographRequest(data, self.options, clock, self.who, self.caller.end)
            received = await pipeline.receive(request, reserved, pixels)
        localization, known = await pipeline.locate(received, progress)
        return Answer(received.image, localization, known, record_timing(self.service, clock))

    async def answers(self, on_answer: Callable[[int, Answer | WeakpointsError], None]) -> None:
        """All of them at the same time, as if each had a caller of its own.

        on_answer: gets the number of a photograph, and its answer or why there is none, as soon as
        that is known. Those that have no answer when the caller's time is over have DeadlinePassed.
        """
        # Else the first to be late would take the answers of the others with it.
        self.caller.scope.deadline = math.inf  # each has the deadline for itself
        async with anyio.create_task_group() as group:
            for number, upload in enumerate(self.uploads):
                group.start_soon(self._one, number, upload, on_answer)

    async def _one(
        self,
        number: int,
        upload: Upload,
        on_answer: Callable[[int, Answer | WeakpointsError], None],
    ) -> None:
        answer: Answer | WeakpointsError = DeadlinePassed()
        with anyio.CancelScope(deadline=self.caller.end):
            try:
                with ExitStack() as reserved:
                    answer = await self.answer(upload, reserved)
            except WeakpointsError as error:
                answer = error
            # The others of the request are still answered.
            except Exception as error:
                log.error("photograph %d of a request failed", number, exc_info=error)
                answer = WeakpointsError("something went wrong here; the log has it")
        if isinstance(answer, WeakpointsError):
            self.service.metrics.failed(answer)
        on_answer(number, answer)


def record_timing(service: Service, clock: Stopwatch) -> dict[str, float]:
    """Milliseconds of each stage, and `total`; metrics and traces are told."""
    service.metrics.staged(clock.timing_ms)
    trace_stages(clock)
    return clock.timing_ms | {"total": clock.total_ms}


@asynccontextmanager
async def delivered(
    request: Request,
    query: QueryType,
    several: bool = False,
    companions: Mapping[str, int] = MappingProxyType({}),
    least: int = 1,
) -> AsyncIterator[Delivery[QueryType]]:
    """The photograph of a request, or `several` of them, within its caller's time.

    companions, least: see `Wanted`.

    Raises WeakpointsError for what is wrong with the whole request: options of the query that don't
    fit the network too, before anything is read.
    """
    service, clock = service_of(request), Stopwatch()
    pipeline, settings, who = service.pipeline, service.settings, caller_of(request)
    # Before a byte is read: who has a wrong option should not have to send the photograph.
    options = pipeline.detector.resolved(query.options())
    most = settings.max_images if several else 1
    wanted = Wanted(most, least, type(query).model_fields, companions)
    async with deadline(request, settings.request_timeout) as caller:
        with ExitStack() as slots:
            received = await read_uploads(
                request, lambda: slots.enter_context(pipeline.place(who)), settings, wanted
            )
            # From here the connection is read for a hang-up; before, reading the body noticed it.
            caller.watch()
            clock.lap("upload")
            if received.options:
                query = _with_fields(request, query, received.options)
                options = pipeline.detector.resolved(query.options())
            yield Delivery(
                query, options, received.uploads, received.companions, service, caller, who, clock
            )


def _with_fields(request: Request, query: QueryType, fields: dict[str, str]) -> QueryType:
    """Raises BadOption for a field that is wrong, or is in the query, too."""
    for name in fields:
        if name in request.query_params:
            raise BadOption(
                f"{name} is in the query and in the form; once is expected",
                option=name,
                limit=1,
                actual=2,
            )
    given: dict[str, Any] = {}
    for name in request.query_params:
        values = request.query_params.getlist(name)
        given[name] = values if len(values) > 1 else values[0]
    return options_of(given | fields, type(query))


def detection_of(request: Request, answer: Answer) -> Detection:
    """The JSON of one answer."""
    model = service_of(request).pipeline.detector.model
    return detection(answer.localization, model, request.state.request_id, answer.timing_ms)


def problem_after_status(request: Request, error: WeakpointsError) -> dict[str, Any]:
    """The problem of an error that comes after the status was sent; metrics count it."""
    service_of(request).metrics.failed(error)
    return problem_body(request, error)
