"""Landmark sets by KServe's V1 protocol: each is a model, and what it predicts is named points."""

from anyio.to_thread import run_sync
from pydantic import BaseModel

from app.schemas.landmarks import NamedPointsFound
from app.schemas.queries import LandmarksParameters
from app.service.answers import photograph_request
from app.service.api.kserve_body import InstanceRequest
from app.service.lifecycle import Service, service_of
from app.service.named_answers import check_objects, named_points
from weakpoints.errors import UnknownLandmarks, UnknownModel
from weakpoints.landmarks.landmark_set import LandmarkSet
from weakpoints.landmarks.named import NamedPoints


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
    caller, parameters = instance.caller, instance.parameters
    service = service_of(caller.request)
    check_objects(parameters, service.settings.max_objects)
    photograph = photograph_request(caller, instance.photograph, parameters.options())
    finder = NamedPoints(service.describer, kept.pattern)
    return await named_points(caller, finder, photograph, parameters.objects())
