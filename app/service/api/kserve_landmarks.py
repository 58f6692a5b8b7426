"""Landmark sets by KServe's V1 protocol: each is a model, and what it predicts is named points."""

from anyio.to_thread import run_sync
from pydantic import BaseModel

from app.schemas.landmarks import NamedPointsFound, named_answer
from app.schemas.queries import LandmarksParameters
from app.service.answers import record_timing
from app.service.api.kserve_body import InstanceRequest
from app.service.http.requests import caller_of
from app.service.lifecycle import Service, service_of
from app.service.named_delivery import check_objects, named_on
from app.service.scheduling.photographs import PhotographRequest
from weakpoints.errors import UnknownLandmarks, UnknownModel
from weakpoints.landmarks.landmark_set import LandmarkSet
from weakpoints.landmarks.named import NamedPoints
from weakpoints.method.stopwatch import Stopwatch


class NamedPredictions(BaseModel):
    """The named points of each instance, in their order."""

    predictions: list[NamedPointsFound]


async def set_named(service: Service, name: str, network: str) -> LandmarkSet:
    """A landmark set that belongs to the network. Raises UnknownModel and BadLandmarkSet."""
    try:
        kept = await run_sync(service.landmark_sets.get, name)
    except UnknownLandmarks:
        known = [network, *await run_sync(service.landmark_sets.names)]
        listed = ", ".join(map(repr, known))
        raise UnknownModel(
            f"there is no model {name[:100]!r}; there is {listed}", known=known
        ) from None
    NamedPoints(service.describer, kept.pattern)
    return kept


async def named_by(
    kept: LandmarkSet, instance: InstanceRequest[LandmarksParameters]
) -> NamedPointsFound:
    """The named points of one photograph."""
    request, clock, parameters = instance.caller.request, Stopwatch(), instance.parameters
    service, who = service_of(request), caller_of(request)
    detector = service.pipeline.detector
    check_objects(parameters, service.settings.max_objects)
    options = detector.resolved(parameters.options())
    photograph = PhotographRequest(instance.photograph, options, clock, who, instance.caller.end)
    finder = NamedPoints(service.describer, kept.pattern)
    objects = await named_on(service, finder, photograph, parameters.objects())
    return named_answer(
        objects, detector.model, request.state.request_id, record_timing(service, clock)
    )
