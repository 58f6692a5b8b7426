"""`/labelstudio`: what Label Studio asks of an ML backend. It is not in the OpenAPI document.

The requests are Label Studio's: it is the client, and has no document of its own for them.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from anyio import CapacityLimiter, current_time
from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse

from app.service.http.api_keys import let_label_studio_in
from app.service.http.deadlines import Caller, deadline
from app.service.http.requests import caller_of
from app.service.intake.upload import UploadPace, check_encoding, receive_body
from app.service.labelstudio.configuration import read_configuration
from app.service.labelstudio.predicting import (
    MOST_TASKS,
    PREDICT_SECONDS,
    TIME_SHARE,
    TaskPrediction,
)
from app.service.labelstudio.studio import LabelStudio, project_number
from app.service.lifecycle import service_of
from weakpoints.errors import BadAnnotations, MalformedRequest, TooLarge

routes = APIRouter(prefix="/labelstudio", include_in_schema=False)
keyed = [Depends(let_label_studio_in)]
SMALL, LARGE = 4 * 2**20, 8 * 2**20  # bytes of a body; those of /predict have many tasks
SETUP_SECONDS = 1.5  # Label Studio waits for 3
ACTION_CHARACTERS = 40  # characters of an action that are looked at
LEARNT = {"ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_CREATED"}


def studio_of(request: Request) -> LabelStudio:
    studio: LabelStudio = request.app.state.label_studio
    return studio


@routes.get("", dependencies=keyed)
@routes.get("/", dependencies=keyed)
@routes.get("/health", dependencies=keyed)
async def health() -> dict[str, str]:
    """Whether there is an ML backend; it may still load."""
    return {"status": "UP", "model_class": "Weakpoints"}


@routes.post("/setup", dependencies=keyed)
async def setup(request: Request) -> dict[str, Any]:
    """The version that predictions will have. The token that comes along is not used."""
    service, studio = service_of(request), studio_of(request)
    async with _body(request, studio.turns, SMALL) as body:
        config, number = body.get("schema"), project_number(body.get("project"))
        read_configuration(config)
    await studio.read_annotations(number, SETUP_SECONDS)
    model = service.pipeline.detector.model
    return {"model_version": await studio.version(number, model, str(config))}


@routes.get("/versions", dependencies=keyed)
async def versions(request: Request) -> dict[str, list[str]]:
    """The one that answers."""
    model = service_of(request).pipeline.detector.model
    number = project_number(request.query_params.get("project"))
    return {"versions": [await studio_of(request).version(number, model)]}


@routes.post("/predict", dependencies=keyed)
async def predict(request: Request) -> JSONResponse:
    """An entry for each task, within 100 seconds."""
    service, studio = service_of(request), studio_of(request)
    seconds = min(PREDICT_SECONDS, service.settings.request_timeout)
    async with (
        deadline(request, seconds) as caller,
        _body(request, studio.predictions, LARGE) as body,
    ):
        caller.watch()
        configuration = read_configuration(body.get("label_config"))
        tasks, params = body.get("tasks"), body.get("params")
        if not isinstance(tasks, list):
            raise MalformedRequest("`tasks` is no list")
        if len(tasks) > MOST_TASKS:
            detail = f"{len(tasks)} tasks came; at most {MOST_TASKS} are answered"
            raise TooLarge(detail, limit=MOST_TASKS, actual=len(tasks))
        number = project_number(body.get("project"))
        await studio.read_annotations(number, caller.seconds_left / 2)
        version = await studio.version(
            number, service.pipeline.detector.model, body["label_config"]
        )
        context = params.get("context") if isinstance(params, dict) else None
        end = current_time() + TIME_SHARE * caller.seconds_left
        mine = Caller(request, caller.scope, end)
        prediction = TaskPrediction(service, studio, configuration, number, version, context, mine)
        return JSONResponse({"results": await prediction.entries(tasks)})


@routes.post("/webhook", dependencies=keyed)
async def webhook(request: Request) -> JSONResponse:
    """What was annotated; it is learnt from when predictions are asked for the next time."""
    studio = studio_of(request)
    async with _body(request, studio.turns, SMALL) as body:
        return await _learnt(studio, body)


async def _learnt(studio: LabelStudio, body: dict[str, Any]) -> JSONResponse:
    action, number = (
        str(body.get("action"))[:ACTION_CHARACTERS],
        project_number(body.get("project")),
    )
    if action in LEARNT:
        wrong = [
            reason
            for task, annotation in _annotated_tasks(body.get("task"), body.get("annotation"))
            if (reason := studio.learn(number, task, annotation))
        ]
        if wrong:
            raise BadAnnotations(wrong[0])
    elif action in ("ANNOTATION_DELETED", "ANNOTATIONS_DELETED"):
        studio.projects.forget(number, _numbers(body))
    elif action == "START_TRAINING":
        await studio.read_annotations(number, SETUP_SECONDS, again=True)
    else:
        return JSONResponse({"status": "Unknown event"})
    return JSONResponse({"result": None, "status": "ok"}, 201)


def _annotated_tasks(tasks: Any, annotations: Any) -> list[tuple[Any, Any]]:
    """One of each, or lists of them."""
    if not isinstance(annotations, list):
        return [(tasks, annotations)]
    known = {str(task.get("id")): task for task in _dicts(tasks)}
    return [(known.get(str(made.get("task"))), made) for made in _dicts(annotations)]


def _numbers(body: dict[str, Any]) -> list[int]:
    """Of the annotations that were deleted."""
    given = [body.get("annotation"), body.get("annotations")]
    flat = [made for part in given for made in (part if isinstance(part, list) else [part])]
    return [made["id"] for made in _dicts(flat) if type(made.get("id")) is int]


def _dicts(items: Any) -> list[dict[str, Any]]:
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


@asynccontextmanager
async def _body(request: Request, turns: CapacityLimiter, most: int) -> AsyncIterator[Any]:
    """JSON of at most so many bytes, while few others are at work. Raises NotAllowed first."""
    service = service_of(request)
    _ = studio_of(request).fetcher  # before anything is read
    settings, data, limit = service.settings, bytearray(), min(most, service.settings.max_bytes)
    check_encoding(request)
    async with turns:  # objects take many times the room of their text
        with service.pipeline.place(caller_of(request)):
            await receive_body(request, limit, UploadPace.of(settings), data.extend)
        try:
            body = json.loads(bytes(data))
        except (ValueError, RecursionError) as error:
            raise MalformedRequest(f"the body is not JSON: {error}") from error
        if not isinstance(body, dict):
            raise MalformedRequest("the body is no JSON object")
        data.clear()
        yield body
