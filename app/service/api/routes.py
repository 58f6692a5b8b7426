"""The HTTP API: photographs come in, JSON or a PNG goes out."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from typing import Annotated

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from fastapi.responses import StreamingResponse
from fastapi.sse import EventSourceResponse

from app.loading import loaded
from app.schemas.answers import Detection, ModelCard, Result, Results, model_card
from app.schemas.queries import DetectQuery, HeatmapQuery
from app.service.answers import delivered
from app.service.api.accept import preferred
from app.service.api.kserve import v1
from app.service.api.openapi import (
    ABOUT,
    EVENTS,
    EXTENT,
    FILE,
    FILES,
    FORMATS,
    JSON,
    LINES,
    NPZ,
    PNG,
    TIMED,
    photographs,
    streams,
)
from app.service.api.pages import add_pages
from app.service.api.pieces import Pieces
from app.service.api.probes import probes
from app.service.api.replies import counted, detection_of, reader, tell_results
from app.service.api.streaming import STILL_WAITING, Emit, Words, event, progress_events, streamed
from app.service.http.api_keys import let_in
from app.service.http.middleware import Prefix, add_rules
from app.service.http.problems import QUIET, RESPONSES, add_problems
from app.service.lifecycle import Service, service_of
from app.service.observability.tracing import telemetry
from app.settings import Settings
from weakpoints import __version__
from weakpoints.errors import BadOption, WeakpointsError
from weakpoints.method.arrays import npz
from weakpoints.method.detector import Detector
from weakpoints.method.render import heatmap_png
from weakpoints.options import Options


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
        description=ABOUT,
        servers=[{"url": "."}],  # relative to this document, so that a proxy's prefix stays
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        telemetry=telemetry(QUIET),
    )
    app.state.service = service
    add_rules(app, settings.origins)
    add_problems(app, service.metrics)
    if settings.root_path:
        app.add_middleware(Prefix, prefix=settings.root_path)
    app.include_router(probes)
    keys = [Depends(let_in)] if settings.api_keys else []
    app.include_router(routes, dependencies=keys)
    app.include_router(v1, dependencies=keys)
    add_pages(app)
    return app


def each_once(request: Request) -> None:
    """Raises BadOption for an option that is given twice: one of the two would be dropped."""
    for name in set(request.query_params):
        if len(values := request.query_params.getlist(name)) > 1:
            raise BadOption(
                f"{name[:100]} is given {len(values)} times; once is expected, and several classes "
                "of target_class have commas between them",
                option=name[:100],
                limit=1,
                actual=len(values),
            )


async def until_answered() -> AsyncIterator[ExitStack]:
    """Closed when the answer has been sent, or given up."""
    with ExitStack() as held:
        yield held


routes = APIRouter()


@routes.post(
    "/detect",
    operation_id="detect",
    responses={**RESPONSES, 200: {"content": streams(), "headers": TIMED}},
    dependencies=[Depends(each_once)],
    openapi_extra=photographs(FILES),
    response_model=Detection | Results,
)
async def detect(request: Request, query: Annotated[DetectQuery, Query()]) -> Response:
    """Keypoints of the main object of each photograph, with a confidence each.

    One photograph: its answer. Several, as parts of one form: `results`, in the order in which
    they were sent. Each is answered or refused by itself. With `Accept: application/x-ndjson` each
    of them is a line, sent as soon as it is known. With `Accept: text/event-stream` the answer to
    one photograph is a stream of events: `progress`, then `result` with the same JSON, or `error`.
    """
    options = query.options()
    wanted = preferred(request.headers.get("accept", ""), JSON, LINES, EVENTS)
    if wanted == LINES:
        return await _lines(request, options)
    if wanted == EVENTS:
        return await _events(request, options)
    results: dict[int, Result] = {}
    async with delivered(request, options, reader(request, several=True)) as delivery:
        if len(delivery.uploads) == 1:
            with ExitStack() as held:
                answer = await delivery.answer(delivery.uploads[0], options, held)
            json = detection_of(request, answer).model_dump_json()
            return Response(json, media_type=JSON, headers=answer.headers)
        await tell_results(
            request, delivery, options, lambda each: results.update({each.index: each})
        )
    found = Results(results=[results[index] for index in sorted(results)])
    return Response(found.model_dump_json(), media_type=JSON)


async def _lines(request: Request, options: Options) -> Response:
    """A line of JSON for each photograph, whatever becomes of it."""

    async def work(emit: Emit) -> None:
        async with delivered(request, options, reader(request, several=True)) as delivery:
            await tell_results(
                request,
                delivery,
                options,
                lambda each: emit(each.model_dump_json().encode() + b"\n"),
            )

    def failed(error: WeakpointsError) -> bytes:
        return json.dumps({"problem": counted(request, error)}).encode() + b"\n"

    gone = service_of(request).metrics.gone
    return StreamingResponse(await streamed(work, Words(failed), gone), media_type=LINES)


async def _events(request: Request, options: Options) -> Response:
    """The progress of one photograph, and its answer, as server-sent events."""

    async def work(emit: Emit) -> None:
        async with delivered(request, options, reader(request)) as delivery:
            progress = progress_events(emit)
            with ExitStack() as held:
                answer = await delivery.answer(delivery.uploads[0], options, held, progress)
        emit(event("result", detection_of(request, answer).model_dump_json()))

    def failed(error: WeakpointsError) -> bytes:
        return event("error", json.dumps(counted(request, error)))

    words, gone = Words(failed, STILL_WAITING), service_of(request).metrics.gone
    return EventSourceResponse(await streamed(work, words, gone))


@routes.post(
    "/heatmap",
    operation_id="heatmap",
    responses={
        **RESPONSES,
        200: {"content": {PNG: {}, NPZ: {"schema": FILE}}, "headers": TIMED | EXTENT},
    },
    dependencies=[Depends(each_once)],
    openapi_extra=photographs(FILE),
    response_class=Response,
)
async def heatmap(
    request: Request,
    query: Annotated[HeatmapQuery, Query()],
    held: Annotated[ExitStack, Depends(until_answered)],
) -> Response:
    """One of the maps of one photograph as a PNG, or all of them as numbers.

    `style=gray16` is the raw map, its range in `X-Map-Min` and `X-Map-Max`. `format=npz`, or
    `Accept: application/x-npz`, is a file for `numpy.load`.
    """
    options, locator = query.options(), service_of(request).locator
    detector = locator.detector
    drawn = query.drawn(detector.resolved(options), detector.model.labels)
    accepted = preferred(request.headers.get("accept", ""), PNG, NPZ)
    arrays = (query.format or FORMATS[accepted]) == "npz"
    async with delivered(request, options, reader(request)) as delivery:
        upload = delivery.uploads[0]
        answer = await delivery.answer(upload, options, held, pixels=not arrays)
        if arrays:
            json = detection_of(request, answer).model_dump_json()
            file = await run_sync(partial(npz, answer.found, json))
            return Pieces(file, media_type=NPZ, headers=answer.headers)
        assert answer.image is not None
        draw = partial(
            heatmap_png,
            answer.image,
            answer.found,
            which=query.map,
            style=query.style,
            keypoints=query.keypoints,
            size=query.size,
            target=drawn,
        )
        png, (low, high) = await locator.draw(delivery.who, answer.image, held, draw)
    extent = {"X-Map-Min": f"{low:.9g}", "X-Map-Max": f"{high:.9g}"}
    return Pieces(png, media_type=PNG, headers=answer.headers | extent)


@routes.get("/model", operation_id="model", responses={401: RESPONSES[401], 503: RESPONSES[503]})
async def model(request: Request) -> ModelCard:
    """The network that answers, and its labels."""
    return model_card(service_of(request).locator.detector.model)
