"""The ASGI application: every route, rule and setting is wired here and nowhere else."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

from fastapi import Depends, FastAPI

from app.loading import loaded
from app.service.api import detect, heatmap, kserve, landmarks
from app.service.api.openapi import ABOUT
from app.service.api.pages import add_pages
from app.service.api.probes import probes
from app.service.http.api_keys import let_in
from app.service.http.middleware import add_rules
from app.service.http.problems import add_problems
from app.service.http.requests import is_quiet
from app.service.labelstudio import routes as labelstudio
from app.service.labelstudio.studio import LabelStudio
from app.service.lifecycle import Service
from app.service.observability.tracing import telemetry
from app.settings import Settings
from weakpoints import __version__
from weakpoints.method.detector import Detector


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
            await app.state.label_studio.close()
            await service.close()

    app = FastAPI(
        title="weakpoints",
        version=__version__,
        summary="Keypoints without keypoint annotations",
        description=ABOUT,
        servers=[{"url": "."}],  # relative to this document, so that a proxy's prefix stays
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        telemetry=telemetry(is_quiet),
    )
    app.state.service = service
    app.state.label_studio = LabelStudio(settings, service.landmark_sets)
    add_rules(app, service.metrics, settings.origins, settings.root_path)
    add_problems(app, service.metrics)
    app.include_router(probes)
    keys = [Depends(let_in)] if settings.api_keys else []
    for routes in (detect.routes, heatmap.routes, landmarks.routes, kserve.routes):
        app.include_router(routes, dependencies=keys)
    app.include_router(labelstudio.routes)
    add_pages(app)
    return app
