"""The fast paths, and what a trial found of each (see `trial` and `windows.choice`)."""

from dataclasses import dataclass
from typing import Literal

Name = Literal["float16", "triton", "cuda_graphs", "batching", "windows"]


@dataclass(frozen=True)
class Paths:
    """The fast paths that an engine may take. None of them: PyTorch's own operations in float32."""

    float16: bool = False
    triton: bool = False
    cuda_graphs: bool = False


@dataclass(frozen=True)
class Tried:
    """What a trial found.

    gain: times faster than without; of windows that were not tried, times fewer products.
    why: the reason of a path that is off.
    """

    name: Name
    on: bool
    gain: float | None = None
    why: str | None = None
