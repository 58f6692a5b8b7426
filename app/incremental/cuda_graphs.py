"""Chunks as CUDA graphs: what is asked for again is recorded, and from then on launched as one.

A chunk is some eighty small launches, which a host issues no faster than a GPU finishes them.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

KEPT = 16  # recordings; the one longest unused goes first

Inputs = tuple[Tensor, ...]
Run = Callable[[Inputs, Tensor], None]  # reads the inputs, writes the output
Capture = Callable[[Callable[[], None]], Callable[[], None]]


@dataclass(frozen=True, eq=False)
class Recording:
    """Reads and writes the same memory each time: what comes is copied there, what was found from there."""

    inputs: Inputs
    out: Tensor
    play: Callable[[], None]

    def __call__(self, inputs: Inputs, out: Tensor) -> None:
        for mine, given in zip(self.inputs, inputs, strict=True):
            mine.copy_(given)
        self.play()
        out.copy_(self.out)


class Recorder:
    """The first time a key is asked for, its work is done as it is, which also tunes and compiles it; the second time it is recorded."""

    def __init__(self, capture: Capture) -> None:
        self._capture, self._lock = capture, threading.Lock()
        self._kept: OrderedDict[object, Recording | None] = OrderedDict()

    def __call__(self, key: object, run: Run, inputs: Inputs, out: Tensor) -> None:
        """The same key means the same work on tensors of the same shapes. One thread at a time."""
        with self._lock:
            if key not in self._kept:
                run(inputs, out)
                self._kept[key] = None
            else:
                recording = self._kept[key] or self._record(run, inputs, out)
                recording(inputs, out)
                self._kept[key] = recording
            self._kept.move_to_end(key)
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)

    def _record(self, run: Run, inputs: Inputs, out: Tensor) -> Recording:
        mine, found = tuple(each.clone() for each in inputs), torch.empty_like(out)
        return Recording(mine, found, self._capture(lambda: run(mine, found)))


def cuda_graphs() -> Recorder:
    """Their scratch memory is shared: what a recording holds when it ends, no other needs."""
    pool = torch.cuda.graph_pool_handle()

    def capture(run: Callable[[], None]) -> Callable[[], None]:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
            run()
        return graph.replay

    return Recorder(capture)
