"""`/heatmap`: a photograph comes in, one of its maps goes out as a PNG, or all as arrays."""

from collections.abc import AsyncIterator
from contextlib import ExitStack
from functools import partial
from typing import Annotated

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Query, Request, Response

from app.schemas.queries import HeatmapQuery
from app.service.answers import delivered, detected, detection_of
from app.service.api.openapi import (
    EXTENT,
    FILE_SCHEMA,
    FORMAT_OF_TYPE,
    NPZ,
    PNG,
    TIMED_HEADERS,
    photographs_body,
)
from app.service.api.streaming import ChunkedResponse
from app.service.http.problems import RESPONSES
from app.service.http.requests import preferred, reject_repeated_options
from app.service.lifecycle import service_of
from weakpoints.method.arrays import npz
from weakpoints.method.render import heatmap_png

routes = APIRouter()


async def until_answered() -> AsyncIterator[ExitStack]:
    """Closed when the answer has been sent, or given up."""
    with ExitStack() as reserved:
        yield reserved


@routes.post(
    "/heatmap",
    operation_id="heatmap",
    responses={
        **RESPONSES,
        200: {
            "content": {PNG: {}, NPZ: {"schema": FILE_SCHEMA}},
            "headers": TIMED_HEADERS | EXTENT,
        },
    },
    dependencies=[Depends(reject_repeated_options)],
    openapi_extra=photographs_body(FILE_SCHEMA, HeatmapQuery),
    response_class=Response,
)
async def heatmap(
    request: Request,
    query: Annotated[HeatmapQuery, Query()],
    reserved: Annotated[ExitStack, Depends(until_answered)],
) -> Response:
    """One of the maps of one photograph as a PNG, or all of them as numbers.

    `style=gray16` is the raw map, its range in `X-Map-Min` and `X-Map-Max`. `format=npz`, or
    `Accept: application/x-npz`, is a file for `numpy.load`.
    """
    pipeline = service_of(request).pipeline
    model = pipeline.detector.model
    # Refused before the upload; again below, where the form may have changed the query.
    query.drawn(pipeline.detector.resolved(query.options()), model.labels)
    accepted = FORMAT_OF_TYPE[preferred(request.headers.get("accept", ""), PNG, NPZ)]
    async with delivered(request, query) as delivery:
        query = delivery.query
        drawn = query.drawn(delivery.options, model.labels)
        arrays = (query.format or accepted) == "npz"
        upload = delivery.uploads[0]
        answer = await detected(delivery, upload, reserved, pixels=not arrays)
        if arrays:
            body = detection_of(request, answer).model_dump_json()
            # Packing takes tens of milliseconds, in which the event loop would stand still.
            file = await run_sync(partial(npz, answer.localization, body))
            return ChunkedResponse(file, media_type=NPZ, headers=answer.headers)
        assert answer.image is not None
        draw = partial(
            heatmap_png,
            answer.image,
            answer.localization,
            which=query.map,
            style=query.style,
            keypoints=query.keypoints,
            size=query.size,
            target=drawn,
        )
        png, (low, high) = await pipeline.draw(delivery.caller.name, answer.image, reserved, draw)
    extent = {"X-Map-Min": f"{low:.9g}", "X-Map-Max": f"{high:.9g}"}
    return ChunkedResponse(png, media_type=PNG, headers=answer.headers | extent)
