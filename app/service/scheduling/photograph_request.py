"""A photograph on its way: what is asked of it, and what it has become."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.service.scheduling.claims import Claim
from app.service.scheduling.result_cache import Key
from weakpoints.method.localization import Localization
from weakpoints.method.stages import Prepared
from weakpoints.method.stopwatch import Stopwatch
from weakpoints.options import ResolvedOptions


@dataclass(frozen=True)
class PhotographRequest:
    """A file, and what is asked of it. until: when its caller goes, on time.monotonic's clock."""

    data: bytes
    options: ResolvedOptions
    clock: Stopwatch
    caller: str
    until: float


@dataclass(frozen=True)
class ReceivedPhotograph:
    """A photograph of which all that can be refused about it was refused; `key` is its answer's.

    known: its answer, by the cache; else it waits for the device. image: its pixels, None where
    they were not needed.
    """

    key: Key
    known: Localization | None
    image: NDArray[np.uint8] | None
    waiting: tuple[Prepared, Claim] | None
