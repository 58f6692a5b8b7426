"""KServe's V1 protocol: a thin adapter in front of the path that `/detect` takes.

https://kserve.github.io/website/docs/concepts/architecture/data-plane/v1-protocol
"""

from base64 import b64encode
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from functools import partial
from typing import Any, TypeVar

import numpy as np
from anyio.to_thread import run_sync
from fastapi import APIRouter, HTTPException, Request
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from app.schemas.answers import Detection, Prediction, detection, prediction
from app.schemas.queries import DetectParameters, DrawQuery, LandmarksParameters, options_of
from app.service.answers import photograph_request, record_timing
from app.service.api.kserve_body import (
    Base64,
    InstanceOptions,
    InstanceRequest,
    body_of,
    parse,
    read_json_body,
    with_index,
)
from app.service.api.kserve_landmarks import NamedPredictions, named_by, set_named
from app.service.http.deadlines import deadline
from app.service.http.problems import V1, V1_RESPONSES
from app.service.intake.upload import UploadPace
from app.service.lifecycle import Service, service_of
from weakpoints.errors import TooLarge, Unavailable, UnknownModel
from weakpoints.method.localization import Localization
from weakpoints.method.render import heatmap_png

InstanceAnswer = TypeVar("InstanceAnswer")


class ExplainParameters(DetectParameters, DrawQuery):
    """The options of `/detect`, and those of `/heatmap` for the picture, if it is asked for."""

    heatmap: bool = Field(False, description="send the heatmap of each photograph, too")


class Models(BaseModel):
    """The network's name, and those of the landmark sets that belong to it."""

    models: list[str]


class ModelReady(BaseModel):
    """A model that answers; 503 is what one says that does not yet."""

    name: str
    ready: bool = True


class Predictions(BaseModel):
    """One prediction an instance, in their order."""

    predictions: list[Prediction]


class Explanation(Detection):
    """What `/detect` answers, and the heatmap as a PNG where it was asked for."""

    heatmap: Base64 | None = None


class Explanations(Predictions):
    """One prediction and one explanation an instance, in their order."""

    explanations: list[Explanation]


routes = APIRouter(prefix=V1)
GET: dict[int | str, dict[str, Any]] = {status: V1_RESPONSES[status] for status in (401, 503)}


@routes.get("", operation_id="v1_models", responses=GET)
async def models(request: Request) -> Models:
    """What may be asked by name, by KServe's V1 protocol: the network, and its landmark sets."""
    service = service_of(request)
    known = served_name(service)
    digest = service.pipeline.detector.model.sha256
    cards, _ = await run_sync(service.landmark_sets.cards, digest)
    sets = [card["name"] for card in cards if card["usable"] and card["name"] != known]
    return Models(models=[known, *sets])


@routes.post(
    "/{name}:predict",
    operation_id="v1_predict",
    responses=V1_RESPONSES,
    openapi_extra=body_of(DetectParameters, LandmarksParameters),
)
async def predict(request: Request, name: str) -> Predictions | NamedPredictions:
    """The likeliest classes of each photograph: a forward pass, no occlusion.

    By the name of a landmark set: what `/landmarks/{set}` answers for each photograph.
    """
    service = service_of(request)
    if name == served_name(service):
        return Predictions(predictions=await answers_of(request, DetectParameters, prediction_of))
    kept = await set_named(service, name, served_name(service))
    work = partial(named_by, kept)
    return NamedPredictions(predictions=await answers_of(request, LandmarksParameters, work))


@routes.post(
    "/{name}:explain",
    operation_id="v1_explain",
    responses=V1_RESPONSES,
    openapi_extra=body_of(ExplainParameters),
)
async def explain(request: Request, name: str) -> Explanations:
    """What `/detect` answers for each photograph; its heatmap, too, where that is asked for."""
    check_name(service_of(request), name)
    explanations = await answers_of(request, ExplainParameters, explanation_of)
    return Explanations(
        predictions=[answer.prediction for answer in explanations], explanations=explanations
    )


@routes.get("/{name}:predict", include_in_schema=False)
@routes.get("/{name}:explain", include_in_schema=False)
async def not_by_get(name: str) -> None:
    """Else the verb would be taken for the end of a name."""
    raise HTTPException(405, headers={"Allow": "POST"})


@routes.get(
    "/{name}",
    operation_id="v1_model",
    # Without a default, FastAPI tells of a 422 for the name, which may be any.
    responses={**GET, 404: V1_RESPONSES[404], "default": V1_RESPONSES[500]},
)
async def ready(request: Request, name: str) -> ModelReady:
    """Whether the model answers: 503 while it does not."""
    service = service_of(request)
    if name != served_name(service):
        await set_named(service, name, served_name(service))
    if not service.ready:
        raise Unavailable("the service is stopping, or the device is lost", retry_after=5)
    return ModelReady(name=name)


def served_name(service: Service) -> str:
    """What the model is called. Raises Unavailable while it is loaded."""
    model = service.pipeline.detector.model
    return service.settings.served_name or model.name


def check_name(service: Service, name: str) -> None:
    """Raises UnknownModel for what does not explain, and Unavailable while the model is loaded."""
    known = served_name(service)
    if name != known:
        raise UnknownModel(
            f"there is no model {name[:100]!r} that explains; there is {known!r}", known=[known]
        )


async def answers_of(
    request: Request,
    kind: type[InstanceOptions],
    work: Callable[[InstanceRequest[InstanceOptions]], Awaitable[InstanceAnswer]],
) -> list[InstanceAnswer]:
    """Of all photographs, each let in by itself, one after the other, in their caller's time.

    The next one joins the queue when the one before it is answered. So many photographs of one
    caller keep no other caller waiting longer than one does. The first that is refused ends the
    request.
    """
    service = service_of(request)
    settings, answers = service.settings, list[InstanceAnswer]()
    async with deadline(request, settings.request_timeout) as caller:
        with service.pipeline.place(caller.name):
            body = await read_json_body(request, settings.max_bytes, UploadPace.of(settings))
            caller.watch()
            batch = await run_sync(parse, body, settings.max_bytes, settings.max_images)
            del body  # the photographs are reserved once
            parameters = options_of(batch.parameters, kind)
            service.pipeline.detector.resolved(parameters.options())
            # One after the other, so that many photographs hold one place of the queue at a time.
            for index, photograph in enumerate(batch.photographs):
                with with_index(index), ExitStack() as reserved:
                    instance = InstanceRequest(
                        photograph, len(batch.photographs), parameters, caller, reserved
                    )
                    answers.append(await work(instance))
    return answers


async def prediction_of(instance: InstanceRequest[DetectParameters]) -> Prediction:
    """The likeliest classes of one photograph."""
    caller, service = instance.caller, service_of(instance.caller.request)
    options = instance.parameters.options()
    photograph = photograph_request(caller, instance.photograph, options)
    top = await service.pipeline.recognise(photograph)
    record_timing(service, photograph.clock)
    return prediction(top)


async def explanation_of(instance: InstanceRequest[ExplainParameters]) -> Explanation:
    """The keypoints of one photograph, and its heatmap. Raises TooLarge for too large a heatmap."""
    caller, reserved, request = instance.caller, instance.reserved, instance.caller.request
    service = service_of(request)
    pipeline, model = service.pipeline, service.pipeline.detector.model
    photograph = photograph_request(caller, instance.photograph, instance.parameters.options())
    drawn = instance.parameters.drawn(photograph.options, model.labels)
    pixels = instance.parameters.heatmap
    received = await pipeline.receive(photograph, reserved, pixels)
    image, heatmap = received.image, None
    # Before the occlusion, which is the dear part.
    if pixels and image is not None:
        _check_heatmap(image, instance, service.settings.max_pixels)
    localization, _ = await pipeline.locate(received)
    timing_ms = record_timing(service, photograph.clock)
    answer = detection(localization, model, request.state.request_id, timing_ms)
    if pixels and image is not None:
        draw = partial(_heatmap, image, localization, instance.parameters, drawn)
        heatmap = await pipeline.draw(caller.name, image, reserved, draw)
    return Explanation(**answer.model_dump(), heatmap=heatmap)


def _check_heatmap(
    image: NDArray[np.uint8], instance: InstanceRequest[ExplainParameters], max_pixels: int
) -> None:
    """All heatmaps of a request have as many pixels together as one photograph may have."""
    most = max_pixels // instance.of
    pixels = image.shape[0] * image.shape[1]
    if instance.parameters.size == "image" and pixels > most:
        raise TooLarge(
            f"the heatmap has {pixels} pixels; each of {instance.of} may have {most}; "
            "send size=network, or fewer instances",
            limit=most,
            actual=pixels,
        )


def _heatmap(
    image: NDArray[np.uint8],
    localization: Localization,
    parameters: ExplainParameters,
    drawn: int | None,
) -> Base64:
    png, _ = heatmap_png(
        image,
        localization,
        which=parameters.map,
        style=parameters.style,
        keypoints=parameters.keypoints,
        size=parameters.size,
        target=drawn,
    )
    return Base64(b64=b64encode(png).decode())
