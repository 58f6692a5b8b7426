"""What a form of windows owes the engine: the seam between `engine.py` and its two folders."""

from typing import Protocol, TypeVar

import torch
from torch import Tensor

from weakpoints.engine.scratch import Scratch
from weakpoints.engine.spans import Corners, Products
from weakpoints.networks.network import Trace


class AnyClean(Protocol):
    """What a layer puts out without a box."""

    @property
    def rows(self) -> Tensor:
        """(H * W, K): a pixel's channels in a row."""

    @property
    def own_bytes(self) -> int:
        """Memory that is not the trace's."""


R = TypeVar("R", bound=AnyClean, contravariant=True)


class Plan(Protocol[R]):
    """What is computed for the boxes of one chunk; made before any arithmetic, and kept."""

    @property
    def products(self) -> Products:
        """Multiplications of all layers."""

    @property
    def changed(self) -> Tensor | None:
        """(P, H, W): where the last maps may differ from the clean ones; None: not known."""

    def scratch_elements(self, clean: tuple[R, ...]) -> int:
        """At most so many numbers are taken from the scratch."""


OwnPlan = TypeVar("OwnPlan")
OwnClean = TypeVar("OwnClean")


class Form(Protocol[OwnPlan, OwnClean]):
    """The layers before the classifier, prepared. Threads may share it."""

    @property
    def name(self) -> str:
        """As doctor and benchmarks tell it."""

    @property
    def threads(self) -> int:
        """That may fill chunks at the same time."""

    @property
    def shares(self) -> int:
        """Of the memory budget, for as many threads at most."""

    def plan(self, side: int, box: int, corners: Corners) -> OwnPlan:
        """For boxes of box x box pixels over a side x side picture, corners (y, x)."""

    def clean(self, trace: Trace, dtype: torch.dtype) -> tuple[OwnClean, ...]:
        """The picture, and what each layer puts out without a box."""

    def fill(
        self,
        plan: OwnPlan,
        clean: tuple[OwnClean, ...],
        colours: Tensor,
        out: Tensor,
        scratch: Scratch,
    ) -> None:
        """Writes into out (P, H * W, K) the maps behind the last layer.

        Each of the P pictures has a box of its colour, of (P, 3).
        """
