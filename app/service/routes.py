"""The HTTP edge: bytes come in, the worker locates, JSON or PNG goes out."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Annotated

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from fastapi.responses import PlainTextResponse, StreamingResponse

from app import __version__
from app.errors import DeadlinePassed, Unavailable, WeakpointsError
from app.loading import loaded
from app.method.detector import Detector, Paused
from app.method.localization import Localization
from app.method.render import heatmap_png
from app.method.stopwatch import Stopwatch
from app.options import Options
from app.progress import Progress, no_progress
from app.schemas import (
    Alive,
    Detection,
    DetectQuery,
    HeatmapQuery,
    ModelCard,
    detection,
    model_card,
)
from app.service.cache import Key, key
from app.service.deadlines import in_time, seconds_allowed, while_there
from app.service.events import MEDIA_TYPE, streamed
from app.service.metrics import CONTENT_TYPE
from app.service.middleware import add_rules
from app.service.pages import add_pages
from app.service.problems import QUIET, RESPONSES, add_problems, problem_body
from app.service.state import Service
from app.service.tracing import telemetry, trace_stages
from app.service.upload import REQUEST_BODY, Pace, read_image
from app.settings import Settings


def create_app(
    settings: Settings,
    load: Callable[[], Detector] | None = None,
    stop: Callable[[], None] = lambda: None,
) -> FastAPI:
    """The service; `load` is called once, when it starts; `stop` when it can't go on."""
    service = Service(settings, stop)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        starting = asyncio.create_task(service.start(load or partial(loaded, settings)))
        try:
            yield
        finally:
            starting.cancel()
            await asyncio.wait({starting})
            await service.close()

    app = FastAPI(
        title="weakpoints",
        version=__version__,
        summary="Keypoints without keypoint annotations",
        servers=[{"url": "."}],  # relative to this document, so that a proxy's prefix stays
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        telemetry=telemetry(QUIET),
    )
    app.state.service = service
    add_rules(app, settings.origins)
    add_problems(app, service.metrics)
    app.include_router(probes)
    app.include_router(routes)
    add_pages(app)
    return app


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


async def _let_in(request: Request) -> None:
    _service(request).keys.check(
        request.headers.get("authorization", ""), request.headers.get("x-api-key", "")
    )


probes = APIRouter(responses={503: RESPONSES[503]})
routes = APIRouter(dependencies=[Depends(_let_in)])


@dataclass(frozen=True)
class Received:
    """A request's photograph, and the key of its answer; `seconds` are what its caller still waits."""

    asked: Key
    paused: Paused
    seconds: float
    clock: Stopwatch


@dataclass(frozen=True)
class Located:
    """What was found on it; timing_ms holds every stage, from upload to keypoints."""

    found: Localization
    known: bool
    timing_ms: dict[str, float]

    @property
    def headers(self) -> dict[str, str]:
        timing = ", ".join(
            f"{stage};dur={milliseconds:.1f}" for stage, milliseconds in self.timing_ms.items()
        )
        return {
            "Server-Timing": timing,
            "Cache-Status": "weakpoints; hit" if self.known else "weakpoints; fwd=miss",
        }


async def _receive(request: Request, options: Options) -> Received:
    """The caller's time runs from its headers on."""
    service, clock = _service(request), Stopwatch()
    _ = service.detector  # what can't be answered is not received
    allowed = seconds_allowed(request, service.settings.request_timeout)
    service.room_for_upload(request)
    try:
        data = await in_time(
            read_image(request, service.settings.max_bytes, Pace.of(service.settings)),
            allowed,
        )
        clock.lap("upload")
        asked = key(data, options)
        service.room_to_wait(asked)
        left = allowed - clock.total_ms / 1000
        prepared = service.prepared(data, options, clock, left)
        paused = await while_there(request, prepared, left)
    finally:
        service.uploads.release_on_behalf_of(request)
    if (left := allowed - clock.total_ms / 1000) <= 0:
        raise DeadlinePassed()
    return Received(asked, paused, left, clock)


async def _locate(
    service: Service, received: Received, progress: Progress = no_progress
) -> Located:
    found, known = await service.located(received.asked, received.paused, progress)
    clock = received.clock
    service.metrics.staged(clock.timing_ms)
    trace_stages(clock)
    return Located(found, known, clock.timing_ms | {"total": clock.total_ms})


@routes.post(
    "/detect",
    operation_id="detect",
    responses={**RESPONSES, 200: {"content": {MEDIA_TYPE: {"schema": {"type": "string"}}}}},
    openapi_extra=REQUEST_BODY,
    response_model=Detection,
)
async def detect(request: Request, query: Annotated[DetectQuery, Query()]) -> Response:
    """Keypoints of the main object of one photograph, with a confidence each.

    With `Accept: text/event-stream` the answer is a stream of events: `progress`, then `result` with the same JSON, or `error`.
    """
    service, received = _service(request), await _receive(request, query.options())

    def answer(located: Located) -> str:
        return detection(
            located.found, service.detector.model, request.state.request_id, located.timing_ms
        ).model_dump_json()

    if MEDIA_TYPE not in request.headers.get("accept", ""):
        located = await while_there(request, _locate(service, received), received.seconds)
        return Response(answer(located), media_type="application/json", headers=located.headers)

    async def work(progress: Progress) -> str:
        return answer(await _locate(service, received, progress))

    def problem(error: WeakpointsError) -> str:
        service.metrics.failed(error)
        return json.dumps(problem_body(request, error))

    events = await streamed(work, received.seconds, problem, service.metrics.gone)
    return StreamingResponse(events, media_type=MEDIA_TYPE)


@routes.post(
    "/heatmap",
    operation_id="heatmap",
    responses={**RESPONSES, 200: {"content": {"image/png": {}}}},
    openapi_extra=REQUEST_BODY,
    response_class=Response,
)
async def heatmap(request: Request, query: Annotated[HeatmapQuery, Query()]) -> Response:
    """One of the maps as a PNG; `style=gray16` is the raw map, its range in `X-Map-Min` and `X-Map-Max`."""
    service, received = _service(request), await _receive(request, query.options())
    located = await while_there(request, _locate(service, received), received.seconds)
    draw = partial(
        heatmap_png,
        received.paused.picture.image,
        located.found,
        which=query.map,
        style=query.style,
        keypoints=query.keypoints,
        size=query.size,
    )
    png, (low, high) = await run_sync(draw, limiter=service.decoders)
    return Response(
        png,
        media_type="image/png",
        headers=located.headers | {"X-Map-Min": f"{low:.9g}", "X-Map-Max": f"{high:.9g}"},
    )


@routes.get("/model", operation_id="model", responses={401: RESPONSES[401], 503: RESPONSES[503]})
async def model(request: Request) -> ModelCard:
    """The network that answers, and its labels."""
    return model_card(_service(request).detector.model)


@probes.get("/metrics", operation_id="metrics", response_class=PlainTextResponse)
async def metrics(request: Request) -> Response:
    """What Prometheus reads."""
    return Response(_service(request).metrics.text(), media_type=CONTENT_TYPE)


@probes.get("/livez", operation_id="livez")
async def livez(request: Request) -> Alive:
    """Whether a restart would not help: the thread that owns the device lives, and so does the device."""
    return _alive(_service(request).alive, "the device is lost or its thread hangs")


@probes.get("/startupz", operation_id="startupz")
async def startupz(request: Request) -> Alive:
    """Whether the network is loaded and warm."""
    return _alive(_service(request).started, "the network is being loaded")


@probes.get("/readyz", operation_id="readyz")
async def readyz(request: Request) -> Alive:
    """Whether requests are answered: started, alive, and not stopping."""
    return _alive(_service(request).ready, "the service is loading or stopping")


@probes.get(
    "/v2/health/live",
    operation_id="v2_live",
    summary="/livez by the Open Inference Protocol's name",
)
async def v2_live(request: Request) -> Alive:
    return await livez(request)


@probes.get(
    "/v2/health/ready",
    operation_id="v2_ready",
    summary="/readyz by the Open Inference Protocol's name",
)
async def v2_ready(request: Request) -> Alive:
    return await readyz(request)


def _alive(yes: bool, otherwise: str) -> Alive:
    if not yes:
        raise Unavailable(otherwise, retry_after=5)
    return Alive()
