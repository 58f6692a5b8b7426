"""From a photograph to named points, on the way that detections take."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from app.schemas.landmarks import NamedPointsFound, named_answer
from app.schemas.queries import LandmarksQuery
from app.service.answers import record_timing
from app.service.http.deadlines import Caller
from app.service.lifecycle import Service, service_of
from app.service.scheduling.photographs import PhotographRequest
from weakpoints.errors import BadOption
from weakpoints.landmarks.named import Named, NamedPoints
from weakpoints.method.stages import Prepared
from weakpoints.method.stopwatch import Stopwatch
from weakpoints.options import Options
from weakpoints.progress import Progress, no_progress

Image = NDArray[np.uint8]


async def named_on(
    service: Service,
    finder: NamedPoints,
    photograph: PhotographRequest,
    objects: Sequence[Options],
    progress: Progress = no_progress,
) -> tuple[Named, ...]:
    """The landmarks of each object of one photograph. Raises WeakpointsError."""
    pipeline = service.pipeline

    def prepare(image: Image) -> list[Prepared]:
        clocks = [photograph.clock, *(Stopwatch() for _ in objects[1:])]
        pairs = zip(objects, clocks, strict=True)
        return [finder.describer.prepare(image, *pair) for pair in pairs]

    looks = await pipeline.look_at_all(photograph, prepare)

    def name(stop_if_gone: Progress) -> tuple[Named, ...]:
        def both(stage: str, done: int, total: int) -> None:
            stop_if_gone(stage, done, total)
            progress(stage, done, total)

        return tuple(
            finder.named(*look, options, both) for look, options in zip(looks, objects, strict=True)
        )

    return await pipeline.on_thread(photograph.caller, name)


async def named_points(
    caller: Caller,
    finder: NamedPoints,
    photograph: PhotographRequest,
    objects: Sequence[Options],
    progress: Progress = no_progress,
) -> NamedPointsFound:
    """The same as JSON; its time goes to metrics and traces. Raises WeakpointsError."""
    service = service_of(caller.request)
    found = await named_on(service, finder, photograph, objects, progress)
    timing_ms = record_timing(service, photograph.clock)
    model = service.pipeline.detector.model
    return named_answer(found, model, caller.request.state.request_id, timing_ms)


def check_objects(query: LandmarksQuery, limit: int) -> None:
    """Raises BadOption where `roi` is given more often than allowed."""
    if len(query.objects()) > limit:
        raise BadOption(
            f"roi is given {len(query.objects())} times; at most {limit} are looked at",
            option="roi",
            limit=limit,
            actual=len(query.objects()),
        )
