"""The HTTP edge: bytes come in, the worker locates, JSON or PNG goes out."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import numpy as np
from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from numpy.typing import NDArray

from app import __version__
from app.caller import seconds_allowed, while_there
from app.errors import Unavailable
from app.metrics import CONTENT_TYPE
from app.options import Options
from app.pipeline import Detector, Localization, load_detector
from app.problems import RESPONSES, add_problems
from app.render import heatmap_png
from app.schemas import Alive, Detection, DetectQuery, HeatmapQuery, ModelCard, detection, model_card
from app.service import Service
from app.settings import Settings
from app.upload import REQUEST_BODY, read_image


def loaded(settings: Settings) -> Detector:
    """The detector that the settings name. Raises WeightsError."""
    return load_detector(settings.manifest, settings.network, settings.device, settings.max_passes, settings.memory)


def create_app(settings: Settings, load: Callable[[], Detector] | None = None, stop: Callable[[], None] = lambda: None) -> FastAPI:
    """The service; `load` is called once, when it starts; `stop` when it can't go on."""
    service = Service(settings, stop)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        starting = asyncio.create_task(service.start(load or partial(loaded, settings)))
        try:
            yield
        finally:
            await starting
            await service.close()

    app = FastAPI(title="weakpoints", version=__version__, summary="Keypoints without keypoint annotations", lifespan=lifespan)
    app.state.service = service
    add_problems(app, service.metrics)
    app.include_router(probes)
    app.include_router(routes)
    return app


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


def _let_in(request: Request) -> None:
    _service(request).keys.check(request.headers.get("authorization", ""), request.headers.get("x-api-key", ""))


probes = APIRouter(responses={503: RESPONSES[503]})
routes = APIRouter(dependencies=[Depends(_let_in)])


@dataclass(frozen=True)
class Located:
    """A request's photograph and what was found on it; timing_ms holds every stage, from upload to keypoints."""

    image: NDArray[np.uint8]
    found: Localization
    timing_ms: dict[str, float]


async def _located(request: Request, options: Options) -> Located:
    """The request's photograph through every stage. The caller's time runs from its headers on; when it hangs up, all stops."""
    service, start = _service(request), time.perf_counter()
    _ = service.detector  # what can't be answered is not received
    allowed = seconds_allowed(request, service.settings.request_timeout)
    service.room_for_upload(request)
    try:
        data = await read_image(request, service.settings.max_bytes, min(allowed, service.settings.upload_timeout))
    finally:
        service.uploads.release_on_behalf_of(request)
    received = time.perf_counter()

    async def work() -> Located:
        image = await service.decoded(data)
        decoded = time.perf_counter()
        done = await service.locate(image, options)
        timing = {"upload": (received - start) * 1000, "decode": (decoded - received) * 1000, "queue": done.waited_ms}
        return Located(image, done.result, timing | dict(done.result.timing_ms))

    found = await while_there(request, work(), allowed - (received - start))
    service.metrics.staged(found.timing_ms)
    return found


def _server_timing(timing_ms: dict[str, float]) -> str:
    return ", ".join(f"{stage};dur={milliseconds:.1f}" for stage, milliseconds in timing_ms.items())


@routes.post("/detect", operation_id="detect", responses=RESPONSES, openapi_extra=REQUEST_BODY)
async def detect(request: Request, response: Response, query: Annotated[DetectQuery, Query()]) -> Detection:
    """Keypoints of the main object of one photograph, with a confidence each."""
    start = time.perf_counter()
    located = await _located(request, query.options())
    timing = located.timing_ms | {"total": (time.perf_counter() - start) * 1000}
    response.headers["Server-Timing"] = _server_timing(timing)
    return detection(located.found, _service(request).detector.model, request.state.request_id, timing)


@routes.post(
    "/heatmap",
    operation_id="heatmap",
    responses={**RESPONSES, 200: {"content": {"image/png": {}}}},
    openapi_extra=REQUEST_BODY,
    response_class=Response,
)
async def heatmap(request: Request, query: Annotated[HeatmapQuery, Query()]) -> Response:
    """One of the maps as a PNG; `style=gray16` is the raw map, its range in `X-Map-Min` and `X-Map-Max`."""
    located = await _located(request, query.options())
    draw = partial(
        heatmap_png, located.image, located.found, which=query.map, style=query.style, keypoints=query.keypoints, size=query.size
    )
    png, (low, high) = await run_sync(draw, limiter=_service(request).decoders)
    headers = {"X-Map-Min": f"{low:.9g}", "X-Map-Max": f"{high:.9g}", "Server-Timing": _server_timing(located.timing_ms)}
    return Response(png, media_type="image/png", headers=headers)


@routes.get("/model", operation_id="model", responses={503: RESPONSES[503]})
async def model(request: Request) -> ModelCard:
    """The network that answers, and its labels."""
    return model_card(_service(request).detector.model)


@probes.get("/metrics", operation_id="metrics", response_class=Response)
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


@probes.get("/v2/health/live", operation_id="v2_live", summary="/livez by the Open Inference Protocol's name")
async def v2_live(request: Request) -> Alive:
    return await livez(request)


@probes.get("/v2/health/ready", operation_id="v2_ready", summary="/readyz by the Open Inference Protocol's name")
async def v2_ready(request: Request) -> Alive:
    return await readyz(request)


def _alive(yes: bool, otherwise: str) -> Alive:
    if not yes:
        raise Unavailable(otherwise, retry_after=5)
    return Alive()
