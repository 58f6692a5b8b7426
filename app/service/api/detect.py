"""`/detect`: photographs come in, JSON goes out. `/model` says which network answers."""

from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from app.schemas.answers import Detection, DetectionOfSeveral, ModelCard, Results, model_card
from app.schemas.queries import DetectQuery
from app.service.answers import delivered, detected, detection_of
from app.service.api.answer_forms import Body, PhotographAnswers, respond
from app.service.api.openapi import (
    FILES_SCHEMA,
    TIMED_HEADERS,
    photographs_body,
    streams,
)
from app.service.http.problems import RESPONSES
from app.service.http.requests import reject_repeated_options
from app.service.intake.upload import Upload
from app.service.lifecycle import service_of
from weakpoints.progress import Progress, no_progress

routes = APIRouter()


class Detections(PhotographAnswers):
    """Keypoints of each photograph."""

    of_several, results = DetectionOfSeveral, Results

    async def body(self, upload: Upload, progress: Progress = no_progress) -> Body:
        with ExitStack() as reserved:
            answer = await detected(self.delivery, upload, reserved, progress)
        return detection_of(self.request, answer), answer.headers


@routes.post(
    "/detect",
    operation_id="detect",
    responses={**RESPONSES, 200: {"content": streams(), "headers": TIMED_HEADERS}},
    dependencies=[Depends(reject_repeated_options)],
    openapi_extra=photographs_body(FILES_SCHEMA, DetectQuery),
    response_model=Detection | Results,
)
async def detect(request: Request, query: Annotated[DetectQuery, Query()]) -> Response:
    """Keypoints of the main object of each photograph, with a confidence each.

    One photograph: its answer. Several, as parts of one form: `results`, in the order in which
    they were sent. Each is answered or refused by itself. With `Accept: application/x-ndjson` each
    of them is a line, sent as soon as it is known. With `Accept: text/event-stream` the answer to
    one photograph is a stream of events: `progress`, then `result` with the same JSON, or `error`.
    """

    @asynccontextmanager
    async def open_answers(several: bool) -> AsyncIterator[Detections]:
        async with delivered(request, query, several) as delivery:
            yield Detections(delivery)

    return await respond(request, open_answers)


@routes.get("/model", operation_id="model", responses={401: RESPONSES[401], 503: RESPONSES[503]})
async def model(request: Request) -> ModelCard:
    """The network that answers, and its labels."""
    return model_card(service_of(request).pipeline.detector.model)
