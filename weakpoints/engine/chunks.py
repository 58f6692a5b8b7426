"""A form of windows and the classifier behind it: boxes in chunks that memory holds, on threads."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from queue import SimpleQueue
from typing import Any

import torch
from torch import Tensor

from weakpoints.engine.classifier import COPIES, Head
from weakpoints.engine.representation import Form
from weakpoints.engine.scratch import Scratch
from weakpoints.engine.spans import Corners, Products
from weakpoints.engine.threads import pool
from weakpoints.networks.network import Trace
from weakpoints.progress import Progress, part_of

PLANS = 64  # chunks whose indices are kept for the next picture,
REMEMBERED = 1024  # unless there are more boxes: their plans would only push each other out
CHUNK = {"cpu": 64, "cuda": 1024}  # pictures, if their memory is in the budget
MAPS = 0.25  # of the budget is for what waits for the classifier


class Layered:
    """The first `depth` layers of a network by a form, the others by `head`."""

    def __init__(
        self, form: Form[Any, Any], head: Head, depth: int, budget: int, *, triton: bool
    ) -> None:
        self.form, self._head, self._depth = form, head, depth
        self._budget, self._triton = budget, triton
        self._kept = lru_cache(PLANS)(form.plan)

    def logits(
        self, trace: Trace, corners: Corners, box: int, colours: Tensor, progress: Progress
    ) -> Tensor:
        """(R, P, C); colours: (R, P, 3), in the dtype of the windows."""
        clean, total = self.form.clean(trace, colours.dtype), len(colours) * len(corners)
        logits = []
        for i, one in enumerate(colours):
            part = part_of(progress, i * len(corners), total)
            logits.append(self._logits(trace, clean, corners, box, one, part))
        return torch.stack(logits)

    def products(self, side: int, box: int, corners: Corners) -> Products:
        plan = self._planner(corners)(side, box, corners)
        products: Products = plan.products + self._head.products(len(corners), plan.changed)
        return products

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
        budget = self._budget - sum(layer.own_bytes for layer in clean)
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
            work.run(
                CHUNK.get(rows.device.type, CHUNK["cpu"]), part_of(progress, first, len(corners))
            )
            changed = plan(trace.x.shape[-1], box, here).changed
            clean_map = rows.view(*size, -1)
            logits.append(self._head.logits(maps.view(len(maps), *size, -1), clean_map, changed))
        return torch.cat(logits)

    def _planner(self, corners: Corners) -> Callable[..., Any]:
        """What makes the plans of chunks of these boxes, and keeps them for the next picture."""
        return self._kept if len(corners) <= REMEMBERED else self.form.plan


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

        with pool(threads) as in_threads:
            done = 0
            for count in in_threads(
                work, evenly(len(self.corners), size, min(2, self.form.shares))
            ):
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
