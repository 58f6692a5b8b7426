"""The HTTP edge: bytes come in, the worker locates, JSON or PNG goes out."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated

import anyio
import numpy as np
from anyio.to_thread import run_sync
from fastapi import APIRouter, FastAPI, Query, Request, Response

from app import __version__
from app.errors import Unavailable
from app.image import decode
from app.options import choose
from app.pipeline import Detector, load_detector
from app.problems import RESPONSES, add_problems
from app.render import heatmap_png
from app.schemas import Alive, Detection, DetectQuery, HeatmapQuery, ModelCard, detection, model_card
from app.settings import Settings
from app.upload import REQUEST_BODY, read_image
from app.worker import Worker

routes = APIRouter()


def loaded(settings: Settings) -> Detector:
    """The detector that the settings name. Raises WeightsError."""
    return load_detector(settings.manifest, settings.network, settings.device, settings.max_passes, settings.memory)


def create_app(settings: Settings, load: Callable[[], Detector] | None = None) -> FastAPI:
    """The service; `load` is called once, when it starts."""
    make = load or partial(loaded, settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.settings = settings
        app.state.decoders = anyio.CapacityLimiter(settings.decoders)
        app.state.detector = detector = await run_sync(make)
        app.state.worker = worker = Worker(settings.queue_size)
        try:
            await worker.run(
                lambda: detector.locate(np.zeros((64, 64, 3), np.uint8), choose(patch=detector.model.side, stride=1, colours=1))
            )
            app.state.ready = True
            yield
        finally:
            app.state.ready = False
            await run_sync(worker.close)

    app = FastAPI(title="weakpoints", version=__version__, summary="Keypoints without keypoint annotations", lifespan=lifespan)
    add_problems(app)
    app.include_router(routes)
    return app


@routes.post("/detect", operation_id="detect", responses=RESPONSES, openapi_extra=REQUEST_BODY)
async def detect(request: Request, query: Annotated[DetectQuery, Query()]) -> Detection:
    """Keypoints of the main object of one photograph, with a confidence each."""
    start, state = time.perf_counter(), request.app.state
    data = await read_image(request, state.settings.max_bytes)
    received = time.perf_counter()
    image = await run_sync(decode, data, state.settings.limits, limiter=state.decoders)
    decoded = time.perf_counter()
    done = await state.worker.run(partial(state.detector.locate, image, query.options()))
    timing = {
        "upload": (received - start) * 1000,
        "decode": (decoded - received) * 1000,
        "queue": done.waited_ms,
        **done.result.timing_ms,
        "total": (time.perf_counter() - start) * 1000,
    }
    return detection(done.result, state.detector.model, request.state.request_id, timing)


@routes.post(
    "/heatmap",
    operation_id="heatmap",
    responses={**RESPONSES, 200: {"content": {"image/png": {}}}},
    openapi_extra=REQUEST_BODY,
    response_class=Response,
)
async def heatmap(request: Request, query: Annotated[HeatmapQuery, Query()]) -> Response:
    """One of the maps as a PNG; `style=gray16` is the raw map, its range in `X-Map-Min` and `X-Map-Max`."""
    state = request.app.state
    data = await read_image(request, state.settings.max_bytes)
    image = await run_sync(decode, data, state.settings.limits, limiter=state.decoders)
    done = await state.worker.run(partial(state.detector.locate, image, query.options()))
    draw = partial(heatmap_png, image, done.result, which=query.map, style=query.style, keypoints=query.keypoints, size=query.size)
    png, (low, high) = await run_sync(draw, limiter=state.decoders)
    return Response(png, media_type="image/png", headers={"X-Map-Min": f"{low:.9g}", "X-Map-Max": f"{high:.9g}"})


@routes.get("/model", operation_id="model")
async def model(request: Request) -> ModelCard:
    """The network that answers, and its labels."""
    return model_card(request.app.state.detector.model)


@routes.get("/livez", operation_id="livez", responses={503: RESPONSES[503]})
async def livez(request: Request) -> Alive:
    """Whether the thread that owns the device lives."""
    if not request.app.state.worker.alive:
        raise Unavailable("the device thread has ended", retry_after=5)
    return Alive()


@routes.get("/readyz", operation_id="readyz", responses={503: RESPONSES[503]})
async def readyz(request: Request) -> Alive:
    """Whether requests are answered: the network is loaded and warm, and the service is not stopping."""
    if not request.app.state.ready:
        raise Unavailable("the service is loading or stopping", retry_after=5)
    return Alive()
