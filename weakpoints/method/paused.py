"""The method, stopped where its photograph waits for the device."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from weakpoints.method.stopwatch import Stopwatch
from weakpoints.networks.network import Trace
from weakpoints.options import ResolvedOptions
from weakpoints.progress import Progress

Found = TypeVar("Found")


@dataclass(frozen=True)
class Picture:
    """What the network has to look at: x (1, 3, S, S), the normalised input of one photograph.

    explained: whether maps are asked for, or the network's classes alone.
    """

    image: NDArray[np.uint8]
    x: Tensor
    options: ResolvedOptions
    clock: Stopwatch
    explained: bool = True


class Look(NamedTuple):
    """What the network says about one picture.

    trace: its forward pass alone; targets: the T classes to explain, none where the picture is not
    explained; fine: (T, S, S), see `fine_maps`.
    """

    trace: Trace
    targets: tuple[int, ...]
    fine: NDArray[np.float64]


Method = Generator[Picture, tuple[Look, Progress], Found]


@dataclass(frozen=True)
class Paused(Generic[Found]):
    """A photograph that waits for the device: its picture, and the method, stopped at `yield`."""

    picture: Picture
    method: Method[Found]


def started(method: Method[Found]) -> Paused[Found]:
    """Runs the method up to the device, on any thread. Raises BadOption."""
    return Paused(next(method), method)
