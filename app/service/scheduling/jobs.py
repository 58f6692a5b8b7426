"""What the device's thread works on."""

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from app.service.scheduling.claims import Claim
from weakpoints.method.stopwatch import Stopwatch
from weakpoints.progress import Progress

Input = TypeVar("Input")
Output = TypeVar("Output")


class Dropped(Exception):
    """Raised inside a job whose caller is gone."""


@dataclass(frozen=True, eq=False)
class Job(Generic[Input, Output]):
    """One request in the queue; `dropped` is set when its caller is gone."""

    input: Input
    claim: Claim
    clock: Stopwatch
    progress: Progress
    future: Future[Output] = field(default_factory=Future)
    dropped: threading.Event = field(default_factory=threading.Event)


def end_of_waiting(jobs: Sequence[Job[Any, Any]]) -> None:
    for job in jobs:
        job.clock.lap("queue")
