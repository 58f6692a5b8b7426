"""Chunks as CUDA graphs: what is asked for again is recorded, and from then on launched as one.

A chunk is some eighty small launches, which a host issues no faster than a GPU finishes them.
"""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

log = logging.getLogger("weakpoints")
KEPT = 16  # recordings, and as many keys that came once; the one longest unused goes first
FAILURES = 8  # captures that may fail before nothing is recorded any more

Kept = TypeVar("Kept")
Inputs = tuple[Tensor, ...]
Run = Callable[[Inputs, Tensor], None]  # reads the inputs, writes the output
Capture = Callable[[Callable[[], None]], Callable[[], None]]


@dataclass(frozen=True, eq=False)
class Recording:
    """Reads and writes the same memory each time.

    What comes is copied there, and what was found is copied from there.
    """

    inputs: Inputs
    out: Tensor
    play: Callable[[], None]

    def __call__(self, inputs: Inputs, out: Tensor) -> None:
        for mine, given in zip(self.inputs, inputs, strict=True):
            mine.copy_(given)
        self.play()
        out.copy_(self.out)


class Recorder:
    """Work that is asked for again is recorded.

    The first time a key is asked for, its work is done as it is, which also tunes and compiles it;
    the second time it is recorded. What can't be recorded is done as it is from then on.
    """

    def __init__(self, capture: Capture) -> None:
        self._capture, self._lock = capture, threading.Lock()
        self._kept: OrderedDict[object, Recording] = OrderedDict()
        self._once: OrderedDict[object, None] = OrderedDict()  # keys that may never come again
        self._never: set[object] = set()  # keys whose capture failed: it would fail again

    def __call__(self, key: object, run: Run, inputs: Inputs, out: Tensor) -> None:
        """The same key means the same work on tensors of the same shapes. One thread at a time.

        Raises what the work raises. On out of memory the recordings are given up first, and the
        work is tried once more.
        """
        with self._lock:
            try:
                self._answer(key, run, inputs, out)
            except torch.OutOfMemoryError:
                if not self._kept:
                    raise
                self._kept.clear()
                run(inputs, out)

    def _answer(self, key: object, run: Run, inputs: Inputs, out: Tensor) -> None:
        if key in self._never or len(self._never) >= FAILURES:
            run(inputs, out)
        elif key not in self._kept and key not in self._once:
            run(inputs, out)
            _keep(self._once, key, None)
        elif recording := self._kept.get(key) or self._recorded(key, run, inputs, out):
            recording(inputs, out)
            _keep(self._kept, key, recording)
        else:
            run(inputs, out)

    def _recorded(self, key: object, run: Run, inputs: Inputs, out: Tensor) -> Recording | None:
        """None where the capture fails, whatever it raises."""
        del self._once[key]
        try:
            own, answer = tuple(tensor.clone() for tensor in inputs), torch.empty_like(out)
            return Recording(own, answer, self._capture(lambda: run(own, answer)))
        except Exception as error:
            log.warning("work is not recorded as a CUDA graph, and done as it is: %s", error)
            self._never.add(key)
            if isinstance(error, torch.OutOfMemoryError):
                self._kept.clear()
            return None


def _keep(kept: OrderedDict[object, Kept], key: object, value: Kept) -> None:
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > KEPT:
        kept.popitem(last=False)


def unrecorded() -> Recorder:
    """Does the work as it is each time."""
    return Recorder(lambda run: run)


def cuda_graphs() -> Recorder:
    """Their scratch memory is shared: what a recording holds when it ends, no other needs."""
    pool = torch.cuda.graph_pool_handle()

    def capture(run: Callable[[], None]) -> Callable[[], None]:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
            run()
        return graph.replay

    return Recorder(capture)
