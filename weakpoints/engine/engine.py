"""The logits of one picture with boxes over it, exactly, computing only what the boxes change.

A box changes a window of each activation map; all around it is the clean trace. Two folders have a
form each in which windows are computed (`representation` is what both owe this file):

changes/ holds changes x' - x. VGGs and ResNets on a CPU take it: dense 3x3 convolutions of changes
need fewer products, and the others (grouped convolutions, half precision) gain nothing by them.
tiles/ holds values x'. All networks on a GPU take it, whose matrix units want equal tiles of
outputs, and on a CPU those with grouped convolutions.
whole.py has no windows. Networks read from a graph of operations take it, where a layer is none
that the two know.

Here is what they have in common: chunks that memory holds, threads, the classifier.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from queue import SimpleQueue
from typing import Any

import torch
from torch import Tensor

from weakpoints.engine.changes.form import ChangesForm
from weakpoints.engine.classifier import COPIES, Head
from weakpoints.engine.representation import Form
from weakpoints.engine.scratch import Scratch
from weakpoints.engine.threads import pool
from weakpoints.engine.tiles.cuda_graphs import Recorder
from weakpoints.engine.tiles.form import TilesForm
from weakpoints.engine.tiles.plan import local
from weakpoints.engine.whole import WholeForm
from weakpoints.engine.windows import Corners, Products
from weakpoints.networks.graph.segment import Segment
from weakpoints.networks.network import Conv, Layer, Network, Residual, Trace, converted
from weakpoints.progress import Progress, no_progress, part_of

PLANS = 64  # chunks whose indices are kept for the next picture,
REMEMBERED = 1024  # unless there are more boxes: their plans would only push each other out
BUDGET = {"cpu": 256 * 2**20, "cuda": 4 * 2**30}  # bytes
CHUNK = {"cpu": 64, "cuda": 1024}  # pictures, if their memory is in the budget
MAPS = 0.25  # of the budget is for what waits for the classifier


class Incremental:
    """A network prepared to answer for boxes. Threads may share it."""

    def __init__(
        self,
        network: Network,
        budget: int | None = None,
        dtype: torch.dtype | None = None,
        recorder: Recorder | None = None,
        triton: bool = True,
    ) -> None:
        """budget: memory limit in bytes, without network, trace and answer; None: BUDGET's.

        dtype: of the windows; None: the network's. The last layer is left as it is, for a drop is a
        small difference of large logits. recorder: asks for `TilesForm`; see there. triton: whether
        the Triton kernels may be used, where there are any.
        """
        self.network, self.dtype = network, dtype or network.like.dtype
        device = network.like.device
        self.form: Form[Any, Any]
        if any(isinstance(layer, Segment) for layer in network.layers):
            layers = network.layers
            self.form = WholeForm(Network(converted(layers, self.dtype)))
        else:
            layers = tuple(local(network.layers))
            self.form = form_of(converted(layers, self.dtype), device, self.dtype, recorder)
        self._head = Head(network.layers[len(layers) :], self.dtype)
        self._triton = triton
        self._budget = budget or BUDGET.get(device.type, BUDGET["cpu"])
        self._chunk = CHUNK.get(device.type, CHUNK["cpu"])
        self._depth = len(layers)
        self._kept = lru_cache(PLANS)(self.form.plan)

    @torch.inference_mode()
    def logits(
        self,
        trace: Trace,
        corners: Corners,
        box: int,
        colours: Tensor,
        progress: Progress = no_progress,
    ) -> Tensor:
        """(..., P, C) logits with a box at each of P corners (y, x), filled with its colour of
        (..., P, 3).

        `progress` is told after every chunk how many boxes are done; what it raises stops the work.
        Raises OutOfMemoryError where the budget does not hold a single box.
        """
        clean = self.form.clean(trace, self.dtype)
        each = colours.to(self.dtype).reshape(-1, len(corners), 3)
        total = len(each) * len(corners)
        logits = [
            self._logits(
                trace, clean, corners, box, one, part_of(progress, i * len(corners), total)
            )
            for i, one in enumerate(each)
        ]
        found = torch.stack(logits)
        return found.view(*colours.shape[:-1], *found.shape[2:])

    def _logits(
        self,
        trace: Trace,
        clean: tuple[Any, ...],
        corners: Corners,
        box: int,
        colours: Tensor,
        progress: Progress,
    ) -> Tensor:
        """(P, C) of one colour a box."""
        rows = clean[-1].rows
        size = trace.activations[self._depth - 1].shape[2:4] or (1, 1)  # of logits: one cell
        budget = self._budget - sum(each.own_bytes for each in clean)
        group = min(len(corners), max(1, int(MAPS * budget) // (COPIES * rows.nbytes)))
        plan = self._planner(corners)
        scratch, logits = Scratch(rows), []
        for first in range(0, len(corners), group):
            here = corners[first : first + group]
            maps = scratch.take("maps", len(here), *rows.shape)
            work = _Work(
                self.form,
                lambda corners: plan(trace.x.shape[-1], box, corners),
                clean,
                here,
                colours[first : first + group],
                maps,
                budget - COPIES * maps.nbytes,
                self._budget,
                self._triton,
            )
            work.run(self._chunk, part_of(progress, first, len(corners)))
            changed = plan(trace.x.shape[-1], box, here).changed
            clean_map = rows.view(*size, -1)
            logits.append(self._head.logits(maps.view(len(maps), *size, -1), clean_map, changed))
        return torch.cat(logits)

    def price(self, side: int, box: int) -> int:
        """Multiplications for one box in the middle of a side x side picture."""
        middle = (side - box) // 2
        return self.products(side, box, ((middle, middle),)).computed

    def products(self, side: int, box: int, corners: Corners) -> Products:
        """Multiplications for boxes over a side x side picture."""
        plan = self._planner(corners)(side, box, corners)
        products: Products = plan.products + self._head.products(len(corners), plan.changed)
        return products

    def _planner(self, corners: Corners) -> Callable[..., Any]:
        """What makes the plans of chunks of these boxes, and keeps them for the next picture."""
        return self._kept if len(corners) <= REMEMBERED else self.form.plan


def form_of(
    layers: tuple[Layer, ...], device: torch.device, dtype: torch.dtype, recorder: Recorder | None
) -> Form[Any, Any]:
    """The faster of the two forms, as measured: changes on a CPU. A GPU's matrix units want
    whole tiles of outputs, half precision has no transforms, and grouped convolutions are direct
    in both forms, where values cost less (EfficientNet-Lite0, 169 boxes: 1.9 s against 8.4 s).
    """
    on_cpu = device.type != "cuda" and dtype in (torch.float32, torch.float64)
    if recorder is None and on_cpu and not _grouped(layers):
        return ChangesForm(layers)
    return TilesForm(layers, device, recorder)


def _grouped(layers: tuple[Layer, ...]) -> bool:
    """Whether any convolution is grouped, within blocks too."""
    return any(
        (isinstance(layer, Conv) and layer.groups > 1)
        or (isinstance(layer, Residual) and _grouped(layer.main))
        for layer in layers
    )


@dataclass(frozen=True, eq=False)
class _Work:
    """Boxes of one group.

    maps: (P, H * W, K), what the classifier reads. memory: bytes for all threads, of the budget.
    """

    form: Form[Any, Any]
    plan: Callable[[Corners], Any]
    clean: tuple[Any, ...]
    corners: Corners
    colours: Tensor
    maps: Tensor
    memory: int
    budget: int
    triton: bool

    def run(self, chunk: int, progress: Progress) -> None:
        """In chunks of at most `chunk` pictures, each on a thread of its own where that helps.

        Chunks are a function of the request and the budget alone: the same request gives the same
        bits on any number of threads.
        """
        share = self.memory // self.form.shares
        size = self._size(chunk, share)
        if size == 0:
            share, size = self.memory, self._size(chunk, self.memory) or 1
        threads = max(1, min(self.form.threads, self.memory // max(share, 1), len(self.corners)))
        scratches: SimpleQueue[Scratch] = SimpleQueue()
        for _ in range(threads):
            scratches.put(Scratch(self.maps, triton=self.triton))

        def work(pictures: slice) -> int:
            scratch = scratches.get()
            try:
                with torch.inference_mode():
                    self._fill(pictures, share, scratch)
            finally:  # the other threads wait for it
                scratches.put(scratch)
            return len(self.corners[pictures])

        with pool(threads) as each:
            done = 0
            for count in each(work, evenly(len(self.corners), size, min(2, self.form.shares))):
                done += count
                progress("occlusion", done, len(self.corners))

    def _size(self, most: int, memory: int) -> int:
        """How many pictures the memory holds, if they are as large as the one in the middle."""
        middle = self.corners[len(self.corners) // 2]
        size = min(most, len(self.corners))
        while size and self._needs((middle,) * size) > memory:
            size //= 2
        return size

    def _needs(self, corners: Corners) -> int:
        needed: int = self.plan(corners).scratch_elements(self.clean) * self.maps.itemsize
        return needed

    def _fill(self, pictures: slice, memory: int, scratch: Scratch) -> None:
        """Where memory does not suffice, half as many pictures at a time."""
        corners = self.corners[pictures]
        plan, out = self.plan(corners), self.maps[pictures]
        try:
            needed = plan.scratch_elements(self.clean) * out.itemsize
            if needed > memory:
                whole = self.budget - memory + needed
                raise torch.OutOfMemoryError(f"{whole} bytes are needed and {self.budget} allowed")
            self.form.fill(plan, self.clean, self.colours[pictures], out, scratch)
        except torch.OutOfMemoryError:
            if len(corners) == 1:
                raise
            scratch.forget()
            middle = (pictures.start + pictures.stop) // 2
            self._fill(slice(pictures.start, middle), memory, scratch)
            self._fill(slice(middle, pictures.stop), memory, scratch)


def evenly(count: int, most: int, multiple: int) -> Iterator[slice]:
    """`count` in slices of at most `most`, as alike as can be.

    There are as many slices as a multiple of `multiple`, if possible.
    """
    pieces = -(-count // most)
    pieces = min(count, -(-pieces // multiple) * multiple)
    for i in range(pieces):
        yield slice(count * i // pieces, count * (i + 1) // pieces)
