"""The engine's form for any network: windows of values, and whole maps from where they cover them.

A window holds the pixels that a box changed, channels last. PyTorch's own operations, and a
loop for depthwise convolutions, run on the windows of a chunk of boxes, in one thread, and each
thread has chunks of its own: no thread waits for another inside of an operation.
"""

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby

import torch
from torch import Tensor

from weakpoints.engine.spans import Corners, Products
from weakpoints.engine.threads import pool, usable_threads
from weakpoints.engine.windows.cuts import Map
from weakpoints.engine.windows.depthwise import (
    NUMBA,
    Depthwise,
    depthwise_of,
    quicker_on_maps,
)
from weakpoints.engine.windows.plan import COVERS, Plan, plan_of
from weakpoints.engine.windows.program import Program, program_of
from weakpoints.engine.windows.run import clean_maps, run
from weakpoints.networks.graph.flatten import graph_of_layers
from weakpoints.networks.network import Network, Trace
from weakpoints.progress import Progress

CHUNK = 16  # boxes: their windows stay in the caches, and products of matrices are large enough;
WHOLE_CHUNK = 8  # of whole maps fewer stay there
SHARES = 4  # of the memory budget, for as many threads at most
PLANS = 64  # chunks whose plans are kept for the next picture

Chunk = tuple[int, int, int]  # number of a colour, first and stop of boxes


@dataclass(frozen=True)
class Division:
    """pieces: first and stop of each chunk of boxes. maps: the clean maps that are kept."""

    pieces: tuple[tuple[int, int], ...]
    maps: frozenset[Map]
    threads: int


class WindowsForm:
    """A network prepared. Threads may share it."""

    def __init__(self, network: Network, budget: int, *, windows: bool = True) -> None:
        """budget: memory in bytes, beside network and answer. windows: without them, all is
        computed on whole maps.
        """
        self.name, self._budget = "windows" if windows else "whole", budget
        self._graph, self._tensors = graph_of_layers(network.layers)
        self.like, self._covers = network.like, COVERS if windows else 0.0
        self.on_cpu = self.like.device.type == "cpu"
        self.chunk = CHUNK if windows or not self.on_cpu else WHOLE_CHUNK
        self.threads = usable_threads() if self.on_cpu else 1
        self._program = lru_cache(4)(self._program_of)
        self._plan = lru_cache(PLANS)(self._plan_of)
        self._depthwise = lru_cache(4)(self._depthwise_of)
        self._compiled = False

    def compile(self) -> None:
        """Compiled loops do what is quicker with them: before the first picture, for logits of one
        with them and without differ by rounding.
        """
        exact = self.like.dtype in (torch.float32, torch.float64)
        self._compiled = NUMBA and self.on_cpu and exact

    def logits(
        self, trace: Trace, corners: Corners, box: int, colours: Tensor, progress: Progress
    ) -> Tensor:
        """(R, P, C); colours: (R, P, 3), in the network's dtype. corners: P times y, x.

        Raises OutOfMemoryError where the budget, in bytes, does not hold a single box.
        """
        x = trace.x.to(colours.dtype)
        side = x.shape[-1]
        program, division = self._program(side), self._division(side, box, corners)
        chunks: list[Chunk] = [
            (r, first, stop) for r in range(len(colours)) for first, stop in division.pieces
        ]
        loops, maps = self._loops(side), {source: Future[Tensor]() for source in division.maps}

        def work(chunk: Chunk | None) -> tuple[Chunk, Tensor] | None:
            with torch.inference_mode():
                if chunk is None:
                    _make(maps, clean_maps(program, x, maps))
                    return None
                colour, first, stop = chunk
                plan, fills = (
                    self._plan(side, box, corners[first:stop]),
                    colours[colour, first:stop],
                )
                return chunk, run(program, plan, lambda name: maps[name].result(), fills, loops)

        answer: Tensor | None = None
        done, total = 0, colours.shape[0] * colours.shape[1]
        with pool(division.threads, apart=self.threads == 1 and self.on_cpu) as in_threads:
            # The clean maps come first: a chunk that needs one waits for that one alone.
            for (colour, first, stop), logits in filter(None, in_threads(work, [None, *chunks])):
                if answer is None:
                    answer = logits.new_empty(*colours.shape[:2], logits.shape[-1])
                answer[colour, first:stop] = logits
                done += stop - first
                progress("occlusion", done, total)
        assert answer is not None
        return answer

    def products(self, side: int, box: int, corners: Corners) -> Products:
        """Multiplications for boxes over a side x side picture."""
        plans = (self._plan(side, box, corners[i:j]) for i, j in pieces(corners, self.chunk))
        return sum((plan.products for plan in plans), Products())

    @torch.inference_mode()
    def logits_of_chunk(self, x: Tensor, corners: Corners, box: int, colours: Tensor) -> Tensor:
        """(P, C) in the caller's thread; x: (1, 3, S, S), colours: (P, 3)."""
        plan = self._plan(x.shape[-1], box, corners)
        program, loops = self._program(x.shape[-1]), self._loops(x.shape[-1])
        maps = dict(clean_maps(program, x, plan.maps))
        return run(program, plan, maps.__getitem__, colours, loops)

    def _loops(self, side: int) -> Mapping[str, Depthwise]:
        return self._depthwise(side) if self._compiled else {}

    def _depthwise_of(self, side: int) -> Mapping[str, Depthwise]:
        """On windows all of them; of those that only ever see whole maps, the quicker ones."""
        program = self._program(side)
        loops = depthwise_of(program)
        whole = [step for step in program.steps if not (step.windowed and self._covers)]
        with pool(1, apart=True) as in_threads:
            (kept,) = in_threads(lambda steps: quicker_on_maps(loops, steps), [whole])
        gone = {step.name for step in whole} - kept
        return {name: loop for name, loop in loops.items() if name not in gone}

    def _program_of(self, side: int) -> Program:
        return program_of(self._graph, self._tensors, side)

    def _plan_of(self, side: int, box: int, corners: Corners) -> Plan:
        return plan_of(self._program(side), side, box, corners, self._covers)

    def _division(self, side: int, box: int, corners: Corners) -> Division:
        """Chunks that the memory holds. They do not depend on how many threads there are, so that
        the same request gives the same bits.
        """
        program, size = self._program(side), min(self.chunk, len(corners))
        while True:
            parts, maps, most = list(pieces(corners, size)), set[Map](), 0
            for first, stop in parts:
                plan = self._plan(side, box, corners[first:stop])
                maps |= plan.maps
                most = max(most, plan.elements * plan.boxes + plan.patch)
            needed = most * self.like.itemsize
            left = self._budget - sum(map(program.map_elements, maps)) * self.like.itemsize
            if needed <= left // SHARES or (size == 1 and needed <= left):
                threads = max(1, min(self.threads, left // max(needed, 1), len(parts)))
                return Division(tuple(parts), frozenset(maps), threads)
            if size == 1:
                raise torch.OutOfMemoryError(
                    f"{self._budget - left + needed} bytes are needed and {self._budget} allowed"
                )
            size //= 2


def _make(maps: Mapping[Map, Future[Tensor]], made: Iterable[tuple[Map, Tensor]]) -> None:
    """What goes wrong is told to all who wait."""
    try:
        for source, rows in made:
            maps[source].set_result(rows)
    except BaseException as error:
        for future in maps.values():
            if not future.done():
                future.set_exception(error)
        raise


def pieces(corners: Corners, most: int) -> Iterator[tuple[int, int]]:
    """First and stop of chunks of at most so many: rows of boxes, whose windows are as high."""
    first, held = 0, 0
    for _, row in groupby(corners, key=lambda corner: corner[0]):
        count = len(list(row))
        if held and held + count > most:
            yield from _evenly(first, held, most)
            first, held = first + held, 0
        held += count
    yield from _evenly(first, held, most)


def _evenly(first: int, count: int, most: int) -> Iterator[tuple[int, int]]:
    parts = -(-count // most)
    for i in range(parts):
        yield first + count * i // parts, first + count * (i + 1) // parts
