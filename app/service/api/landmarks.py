"""`/landmarks`: named points, by sets that are kept here or by references sent along."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Query, Request, Response

from app.schemas.landmarks import (
    LandmarkSetCard,
    LandmarkSets,
    NamedPointsFound,
    NamedPointsOfSeveral,
    NamedResults,
)
from app.schemas.queries import LandmarksQuery
from app.service.answers import Delivery, answer_headers, delivered
from app.service.api.answer_forms import Body, PhotographAnswers, respond
from app.service.api.openapi import (
    EVENTS,
    FILE_SCHEMA,
    FILES_SCHEMA,
    JSON,
    LINES,
    TIMED_HEADERS,
    photographs_body,
    posted,
    streams,
)
from app.service.http.problems import RESPONSES
from app.service.http.requests import preferred, reject_repeated
from app.service.intake.upload import Upload, UploadPace, receive_body
from app.service.lifecycle import Service, service_of
from app.service.named_answers import check_objects, named_points
from app.service.references import ANNOTATIONS, REFERENCE, learnt_from, with_expectation
from weakpoints.landmarks.landmark_set import LandmarkSet, summary
from weakpoints.landmarks.named import NamedPoints
from weakpoints.progress import Progress, no_progress

SET = "application/x-landmarks"
routes = APIRouter()
NOT_FOUND: dict[int | str, dict[str, Any]] = {
    404: {**RESPONSES[500], "description": "No such landmark set"}
}
STREAMS = streams("NamedResults")
Asked = Annotated[LandmarksQuery, Query()]


class NamedAnswers(PhotographAnswers):
    """The landmarks of a set on each photograph."""

    of_several, results = NamedPointsOfSeveral, NamedResults

    def __init__(self, delivery: Delivery[LandmarksQuery], finder: NamedPoints) -> None:
        super().__init__(delivery)
        self._finder = finder

    async def body(self, upload: Upload, progress: Progress = no_progress) -> Body:
        delivery = self.delivery
        objects = delivery.query.objects()
        with upload as data:
            photograph = delivery.photograph(data)
            found = await named_points(delivery.caller, self._finder, photograph, objects, progress)
        return found, answer_headers(found.timing_ms)


def once(request: Request) -> None:
    """Raises BadOption for an option, other than `roi`, that is given twice."""
    reject_repeated(request, several=("roi",))


def _with_references() -> dict[str, Any]:
    extra = photographs_body(FILES_SCHEMA, LandmarksQuery)
    form = extra["requestBody"]["content"]["multipart/form-data"]["schema"]
    form["required"] = [REFERENCE, ANNOTATIONS]
    form["properties"] |= {
        REFERENCE: FILES_SCHEMA
        | {"description": "annotated photographs, by the annotations' file names"},
        ANNOTATIONS: FILE_SCHEMA
        | {"description": "COCO keypoints of the references, of one category"},
    }
    return posted({"multipart/form-data": {"schema": form}})


@routes.get(
    "/landmarks",
    operation_id="landmark_sets",
    responses={401: RESPONSES[401], 503: RESPONSES[503]},
)
async def landmark_sets(request: Request) -> LandmarkSets:
    """The landmark sets at hand, and whether each belongs to the network that answers."""
    service = service_of(request)
    digest = service.pipeline.detector.model.sha256
    cards, broken = await run_sync(service.landmark_sets.cards, digest)
    return LandmarkSets(
        landmark_sets=[LandmarkSetCard(**card) for card in cards],
        broken=broken,
        writable=service.landmark_sets.writable,
    )


@routes.post(
    "/landmarks/{name}",
    operation_id="landmarks",
    responses={**RESPONSES, **NOT_FOUND, 200: {"content": STREAMS, "headers": TIMED_HEADERS}},
    dependencies=[Depends(once)],
    openapi_extra=photographs_body(FILES_SCHEMA, LandmarksQuery),
    response_model=NamedPointsFound | NamedResults,
)
async def landmarks(request: Request, name: str, query: Asked) -> Response:
    """The landmarks of a set on each photograph: one forward pass, no occlusion.

    `roi`: the object with about as much around it as on the references; given several times, each
    is an object of its own, and `objects` has them in their order. Several photographs,
    `Accept: application/x-ndjson` and `text/event-stream` are answered as by `/detect`.
    """
    service = service_of(request)
    check_objects(query, service.settings.max_objects)
    kept = await run_sync(service.landmark_sets.get, name)
    finder = NamedPoints(service.describer, kept.pattern)

    @asynccontextmanager
    async def open_answers(several: bool) -> AsyncIterator[NamedAnswers]:
        async with delivered(request, query, several) as delivery:
            yield NamedAnswers(delivery, finder)

    return await respond(request, open_answers)


@routes.post(
    "/landmarks",
    operation_id="landmarks_by_references",
    responses={
        **RESPONSES,
        200: {"content": {**STREAMS, SET: {"schema": FILE_SCHEMA}}, "headers": TIMED_HEADERS},
    },
    dependencies=[Depends(once)],
    openapi_extra=_with_references(),
    response_model=NamedPointsFound | NamedResults,
)
async def landmarks_by_references(request: Request, query: Asked) -> Response:
    """The same by references that come in the same form: no state on the server.

    With `Accept: application/x-landmarks` the answer is the landmark set, as a file.
    """
    service = service_of(request)
    check_objects(query, service.settings.max_objects)
    companions = {REFERENCE: service.settings.max_references, ANNOTATIONS: 1}
    if preferred(request.headers.get("accept", ""), JSON, LINES, EVENTS, SET) == SET:
        async with delivered(request, query, True, companions, least=0) as delivery:
            learnt = with_expectation(await learnt_from(delivery))
        return Response(learnt.to_bytes(), media_type=SET)

    @asynccontextmanager
    async def open_answers(several: bool) -> AsyncIterator[NamedAnswers]:
        async with delivered(request, query, several, companions) as delivery:
            learnt = await learnt_from(delivery)
            yield NamedAnswers(delivery, NamedPoints(service.describer, learnt.pattern))

    return await respond(request, open_answers)


@routes.put(
    "/landmarks/{name}",
    operation_id="put_landmark_set",
    responses={**RESPONSES, **NOT_FOUND},
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                SET: {"schema": FILE_SCHEMA},
                **_with_references()["requestBody"]["content"],
            },
        }
    },
)
async def put_landmark_set(request: Request, name: str) -> LandmarkSetCard:
    """Keeps a landmark set: its file, or references and annotations as `POST /landmarks` has them.

    It replaces one of the same name. 403 where WEAKPOINTS_LANDMARKS_WRITABLE is off.
    """
    service = service_of(request)
    service.landmark_sets.check_writable(name)
    if request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        companions = {REFERENCE: service.settings.max_references, ANNOTATIONS: 1}
        async with delivered(request, LandmarksQuery(), True, companions, least=0) as delivery:
            learnt = with_expectation(await learnt_from(delivery))
    else:
        learnt = await _file(request, service, name)
    await run_sync(service.landmark_sets.put, name, learnt)
    return LandmarkSetCard(**summary(name, learnt))


@routes.delete(
    "/landmarks/{name}",
    operation_id="delete_landmark_set",
    status_code=204,
    responses={401: RESPONSES[401], 403: RESPONSES[403], **NOT_FOUND},
)
async def delete_landmark_set(request: Request, name: str) -> None:
    """Forgets a landmark set. 403 where WEAKPOINTS_LANDMARKS_WRITABLE is off."""
    await run_sync(service_of(request).landmark_sets.delete, name)


async def _file(request: Request, service: Service, name: str) -> LandmarkSet:
    """The set that is the body. Raises BadLandmarkSet, also for another network's."""
    data = bytearray()
    await receive_body(
        request, service.settings.max_bytes, UploadPace.of(service.settings), data.extend
    )
    learnt = await run_sync(LandmarkSet.of_bytes, bytes(data), name)
    NamedPoints(service.describer, learnt.pattern)
    return learnt
