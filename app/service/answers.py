"""From a request to what was found on its photographs. Each goes its own way, whoever sent it."""

from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request

from app.schemas.answers import Detection, detection
from app.schemas.queries import Strict, options_of
from app.service.http.deadlines import Caller, deadline
from app.service.http.problems import problem_body
from app.service.intake.upload import Upload, Wanted, read_uploads
from app.service.lifecycle import Service, service_of
from app.service.observability.tracing import trace_stages
from app.service.scheduling.photographs import PhotographRequest, ReceivedPhotograph
from weakpoints.errors import BadOption, WeakpointsError
from weakpoints.method.localization import Localization
from weakpoints.method.stopwatch import Stopwatch
from weakpoints.options import Options, ResolvedOptions
from weakpoints.progress import Progress, no_progress

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
        """What goes along with it."""
        return answer_headers(self.timing_ms, self.known)


@dataclass(frozen=True)
class Delivery(Generic[QueryType]):
    """The photographs of one request, received, while their caller waits.

    query: the options of the query, and those that came as fields of the form; options: the same,
    for the network. companions: files of other names, such as references.
    """

    query: QueryType
    options: ResolvedOptions
    uploads: list[Upload]
    companions: Mapping[str, list[Upload]]
    caller: Caller
    clock: Stopwatch

    @property
    def service(self) -> Service:
        """The service that the request came to."""
        return service_of(self.caller.request)

    def photograph(self, data: bytes) -> PhotographRequest:
        """One of them, with the laps so far: all were uploaded together."""
        clock = replace(self.clock, laps=[*self.clock.laps])
        return PhotographRequest(data, self.options, clock, self.caller.name, self.caller.end)


def photograph_request(caller: Caller, data: bytes, options: Options) -> PhotographRequest:
    """What a caller asks of a file. Raises BadOption for what does not fit the network."""
    resolved = service_of(caller.request).pipeline.detector.resolved(options)
    return PhotographRequest(data, resolved, Stopwatch(), caller.name, caller.end)


async def detected(
    delivery: Delivery[Any],
    upload: Upload,
    reserved: ExitStack,
    progress: Progress = no_progress,
    pixels: bool = False,
) -> Answer:
    """One photograph, decoded and detected. Raises WeakpointsError.

    reserved: to be closed when the answer's picture is no longer needed. pixels: whether it is
    needed where the cache knows the answer.
    """
    received, clock = await _received(delivery, upload, reserved, pixels)
    pipeline = delivery.service.pipeline
    localization, known = await pipeline.locate(received, progress)
    return Answer(received.image, localization, known, record_timing(delivery.service, clock))


async def _received(
    delivery: Delivery[Any], upload: Upload, reserved: ExitStack, pixels: bool
) -> tuple[ReceivedPhotograph, Stopwatch]:
    """One photograph, decoded. Apart from `detected`, so that the file's bytes go with its end: the
    wait for the device holds pixels alone.
    """
    with upload as data:
        photograph = delivery.photograph(data)
        received = await delivery.service.pipeline.receive(photograph, reserved, pixels)
    return received, photograph.clock


def answer_headers(timing_ms: dict[str, float], known: bool = False) -> dict[str, str]:
    """Server-Timing and Cache-Status, as browsers and proxies read them. known: by the cache."""
    laps = [f"{stage};dur={duration:.1f}" for stage, duration in timing_ms.items()]
    cache = "weakpoints; hit" if known else "weakpoints; fwd=miss"
    return {"Server-Timing": ", ".join(laps), "Cache-Status": cache}


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
    pipeline, settings = service.pipeline, service.settings
    # Before a byte is read: who has a wrong option should not have to send the photograph.
    options = pipeline.detector.resolved(query.options())
    most = settings.max_images if several else 1
    wanted = Wanted(most, least, type(query).model_fields, companions)
    async with deadline(request, settings.request_timeout) as caller:
        with ExitStack() as slots:
            received = await read_uploads(
                request, lambda: slots.enter_context(pipeline.place(caller.name)), settings, wanted
            )
            # From here the connection is read for a hang-up; before, reading the body noticed it.
            caller.watch()
            clock.lap("upload")
            if received.options:
                query = _with_fields(request, query, received.options)
                options = pipeline.detector.resolved(query.options())
            yield Delivery(query, options, received.uploads, received.companions, caller, clock)


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
