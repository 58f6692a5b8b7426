"""What the routes share: how photographs are read, and what is said about each."""

from collections.abc import Callable
from functools import partial
from typing import Any

from starlette.requests import Request

from app.schemas.answers import (
    Detection,
    DetectionOfSeveral,
    Problem,
    ProblemOfSeveral,
    Result,
    detection,
)
from app.service.answers import Answer, Delivery, Read
from app.service.http.problems import problem_body
from app.service.intake.upload import read_uploads
from app.service.lifecycle import service_of
from weakpoints.errors import WeakpointsError
from weakpoints.options import Options


def reader(request: Request, several: bool = False) -> Read:
    """Reads one photograph, or as many as a request may have."""
    settings = service_of(request).settings
    return partial(read_uploads, settings=settings, most=settings.max_images if several else 1)


def detection_of(request: Request, answer: Answer) -> Detection:
    """The JSON of one answer."""
    found, model = answer.found, service_of(request).locator.detector.model
    return detection(found, model, request.state.request_id, answer.timing_ms)


async def tell_results(
    request: Request, delivery: Delivery, options: Options, tell: Callable[[Result], None]
) -> None:
    """Calls `tell` with the result of each photograph, as soon as it is known."""

    def result(index: int, answer: Answer | WeakpointsError) -> None:
        which = {"index": index, "filename": delivery.uploads[index].filename}
        if isinstance(answer, WeakpointsError):
            problem = Problem(**problem_body(request, answer))
            tell(ProblemOfSeveral(**which, problem=problem))
        else:
            tell(DetectionOfSeveral(**which, **dict(detection_of(request, answer))))

    await delivery.each(options, result)


def counted(request: Request, error: WeakpointsError) -> dict[str, Any]:
    """The problem of an error that comes after the status; metrics count it."""
    service_of(request).metrics.failed(error)
    return problem_body(request, error)
