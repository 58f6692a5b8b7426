"""The HTTP API: a photograph comes in, JSON or a PNG goes out."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import numpy as np
from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from fastapi.sse import EventSourceResponse
from numpy.typing import NDArray

from app import __version__
from app.errors import WeakpointsError
from app.loading import loaded
from app.method.detector import Detector
from app.method.localization import Localization
from app.method.render import heatmap_png
from app.method.stopwatch import Stopwatch
from app.options import Options
from app.progress import Progress, no_progress
from app.schemas import (
    Detection,
    DetectQuery,
    HeatmapQuery,
    ModelCard,
    detection,
    model_card,
)
from app.service.api_keys import let_in
from app.service.deadlines import deadline
from app.service.events import streamed
from app.service.middleware import add_rules
from app.service.pages import add_pages
from app.service.probes import probes
from app.service.problems import QUIET, RESPONSES, add_problems, problem_body
from app.service.state import Service, service_of
from app.service.tracing import telemetry, trace_stages
from app.service.upload import REQUEST_BODY, Pace, read_image
from app.settings import Settings


def create_app(
    settings: Settings,
    load: Callable[[], Detector] | None = None,
    stop: Callable[[], None] = lambda: None,
) -> FastAPI:
    """The service as an ASGI application.

    load: makes the detector, called once at start-up; the settings' network if not given.
    stop: called when the network can't be loaded, or the device is lost.
    """
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
    keys = [Depends(let_in)] if settings.api_keys else []
    app.include_router(routes, dependencies=keys)
    add_pages(app)
    return app


routes = APIRouter()


@dataclass(frozen=True)
class Answer:
    """What was found on a photograph, an (H, W, 3) RGB image; `known`: by the cache.

    timing_ms: milliseconds of each stage, and `total`.
    """

    image: NDArray[np.uint8]
    found: Localization
    known: bool
    timing_ms: dict[str, float]

    @property
    def headers(self) -> dict[str, str]:
        """Server-Timing and Cache-Status, as browsers and proxies read them."""
        laps = [f"{stage};dur={duration:.1f}" for stage, duration in self.timing_ms.items()]
        cache = "weakpoints; hit" if self.known else "weakpoints; fwd=miss"
        return {"Server-Timing": ", ".join(laps), "Cache-Status": cache}


async def _answer(request: Request, options: Options, progress: Progress = no_progress) -> Answer:
    """One photograph within its caller's time: received, decoded, detected."""
    service, clock = service_of(request), Stopwatch()
    settings, locator = service.settings, service.locator
    async with deadline(request, settings.request_timeout) as caller:
        with locator.upload(request):
            data = await read_image(request, settings.max_bytes, Pace.of(settings))
            caller.watch()
            clock.lap("upload")
            received = await locator.receive(data, options, clock, caller.seconds_left)
        found, known = await locator.locate(received, progress)
    service.metrics.staged(clock.timing_ms)
    trace_stages(clock)
    timing = clock.timing_ms | {"total": clock.total_ms}
    return Answer(received.paused.picture.image, found, known, timing)


@routes.post(
    "/detect",
    operation_id="detect",
    responses={
        **RESPONSES,
        200: {"content": {EventSourceResponse.media_type: {"schema": {"type": "string"}}}},
    },
    openapi_extra=REQUEST_BODY,
    response_model=Detection,
)
async def detect(request: Request, query: Annotated[DetectQuery, Query()]) -> Response:
    """Keypoints of the main object of one photograph, with a confidence each.

    With `Accept: text/event-stream` the answer is a stream of events: `progress`, then `result`
    with the same JSON, or `error`.
    """
    service = service_of(request)

    def body(answer: Answer) -> str:
        model, request_id = service.locator.detector.model, request.state.request_id
        return detection(answer.found, model, request_id, answer.timing_ms).model_dump_json()

    if EventSourceResponse.media_type not in request.headers.get("accept", ""):
        answer = await _answer(request, query.options())
        return Response(body(answer), media_type="application/json", headers=answer.headers)

    async def work(progress: Progress) -> str:
        return body(await _answer(request, query.options(), progress))

    def problem(error: WeakpointsError) -> str:
        service.metrics.failed(error)
        return json.dumps(problem_body(request, error))

    return EventSourceResponse(await streamed(work, problem, service.metrics.gone))


@routes.post(
    "/heatmap",
    operation_id="heatmap",
    responses={**RESPONSES, 200: {"content": {"image/png": {}}}},
    openapi_extra=REQUEST_BODY,
    response_class=Response,
)
async def heatmap(request: Request, query: Annotated[HeatmapQuery, Query()]) -> Response:
    """One of the maps as a PNG.

    `style=gray16` is the raw map, its range in `X-Map-Min` and `X-Map-Max`.
    """
    answer = await _answer(request, query.options())
    draw = partial(
        heatmap_png,
        answer.image,
        answer.found,
        which=query.map,
        style=query.style,
        keypoints=query.keypoints,
        size=query.size,
    )
    png, (low, high) = await run_sync(draw, limiter=service_of(request).locator.decoders)
    return Response(
        png,
        media_type="image/png",
        headers=answer.headers | {"X-Map-Min": f"{low:.9g}", "X-Map-Max": f"{high:.9g}"},
    )


@routes.get("/model", operation_id="model", responses={401: RESPONSES[401], 503: RESPONSES[503]})
async def model(request: Request) -> ModelCard:
    """The network that answers, and its labels."""
    return model_card(service_of(request).locator.detector.model)
