"""What is computed for a chunk of boxes: each step over the windows that the boxes change.

All windows of a chunk have one size at a step, that of the largest. Where it covers most of the
map, the step and those that follow it are computed on whole maps.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from weakpoints.engine.spans import Corners, Products, Spans
from weakpoints.engine.windows.calls import Call
from weakpoints.engine.windows.cuts import Area, Cut, Map, cut
from weakpoints.engine.windows.depthwise import patch_elements
from weakpoints.engine.windows.layouts import Layout
from weakpoints.engine.windows.neighbours import Convolution, Neighbours
from weakpoints.engine.windows.program import Program, Step

COVERS = 0.9  # of a map's pixels: what more would save does not pay for the cuts


@dataclass(frozen=True, eq=False)
class Placed:
    """A step of the chunk. cuts: of the inputs that need it; one that reads neighbours has all that
    it reads from its cut, the padding too. area: of the output; None: whole.

    done: the values that nobody reads any more behind it.
    """

    step: Step
    cuts: Mapping[str, Cut]
    area: Area | None
    size: tuple[int, int]
    done: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Plan:
    """elements: numbers for one picture that are alive at once, at most. patch: those that a loop
    needs beside them, for all pictures.
    """

    boxes: int
    box: int
    steps: tuple[Placed, ...]
    products: Products
    elements: int
    patch: int

    @property
    def maps(self) -> set[Map]:
        """The clean maps that are needed."""
        return {piece.source for placed in self.steps for piece in placed.cuts.values()}


def plan_of(program: Program, side: int, box: int, corners: Corners, covers: float) -> Plan:
    """covers: the share of a map from which a window is the whole map."""
    planner = _Planner(program, side, box, corners, covers)
    last = {name: i for i, step in enumerate(program.steps) for name in step.inputs}
    last[program.output] = len(program.steps)
    steps, products = list[Placed](), Products()
    alive, most, patch = {program.picture: 3 * box * box}, 0, 0
    for i, step in enumerate(program.steps):
        done = tuple(name for name in (*step.inputs, step.name) if last.get(name, i) == i)
        placed = planner.placed(step, done)
        steps.append(placed)
        products += planner.products(placed)
        alive[step.name] = planner.elements(placed)
        copied = planner.cut_elements(placed)
        if isinstance(step.operation, Convolution) and step.operation.depthwise:
            patch = max(patch, patch_elements(step.operation, placed.size))
            # where channels do not come last
            copied = max(copied, alive[step.inputs[0]])
        most = max(most, sum(alive.values()) + alive[step.name] + copied)
        for name in done:
            alive.pop(name, None)
    return Plan(len(corners), box, tuple(steps), products, most, patch)


class _Planner:
    """spans: what a box may change of each value; areas: the windows, None where it is all."""

    def __init__(
        self, program: Program, side: int, box: int, corners: Corners, covers: float
    ) -> None:
        y, x = np.array(corners, np.int64).reshape(-1, 2).T
        name = program.picture
        self._spans = {name: (Spans(y, y + box - 1, side), Spans(x, x + box - 1, side))}
        self._areas: dict[str, Area | None] = {name: Area(y, x, box, box)}
        self._program, self._covers = program, covers
        self._count = len(corners)

    def placed(self, step: Step, done: tuple[str, ...]) -> Placed:
        layout, area = step.layout, None
        if layout is not None and all(self._areas[name] is not None for name in step.inputs):
            self._spans[step.name] = spans = self._reached(step)
            area = self._area(spans)
        self._areas[step.name] = area
        cuts = {}
        for name in step.inputs:
            piece = self._cut(step, name, area)
            if piece is not None:
                cuts[name] = piece
        size = step.size if area is None else (area.height, area.width)
        return Placed(step, cuts, area, size, done)

    def elements(self, placed: Placed) -> int:
        """Numbers of its output, for a picture."""
        return int(placed.step.elements * self._share(placed))

    def cut_elements(self, placed: Placed) -> int:
        """Numbers of its inputs that are cut, for a picture."""
        return sum(
            piece.area[0] * piece.area[1] * self._program.depths[name]
            for name, piece in placed.cuts.items()
        )

    def products(self, placed: Placed) -> Products:
        full = placed.step.products * self._count
        layout, spans = placed.step.layout, self._spans.get(placed.step.name)
        exact = full
        if layout is not None and spans is not None:
            pixels = int(spans[0].sizes @ spans[1].sizes)
            exact = placed.step.products * pixels // (layout.height * layout.width)
        return Products(full, exact, int(full * self._share(placed)))

    def _share(self, placed: Placed) -> float:
        layout = placed.step.layout
        if layout is None:
            return 1.0
        return placed.size[0] * placed.size[1] / (layout.height * layout.width)

    def _reached(self, step: Step) -> tuple[Spans, Spans]:
        """Through its neighbours, or where any of its inputs changed."""
        inputs = [self._spans[name] for name in step.inputs]
        if not isinstance(step.operation, Call):
            return step.operation.geometry.through(inputs[0])
        y, x = (_union([both[i] for both in inputs]) for i in range(2))
        return y, x

    def _area(self, spans: tuple[Spans, Spans]) -> Area | None:
        """None where the windows are nearly whole maps."""
        sizes = [int(span.sizes.max()) for span in spans]
        if sizes[0] * sizes[1] >= self._covers * spans[0].length * spans[1].length:
            return None
        y, x = (np.minimum(spans[i].first, spans[i].length - sizes[i]) for i in range(2))
        return Area(y, x, sizes[0], sizes[1])

    def _cut(self, step: Step, name: str, area: Area | None) -> Cut | None:
        """None where the input is right as it is."""
        changed, layout = self._areas[name], self._program.layouts[name]
        if changed is None or layout is None:
            return None
        if isinstance(step.operation, Call):
            area = area or self._whole(layout)
            return None if area.same(changed) else cut(Map(name), layout, changed, area)
        assert step.layout is not None  # what reads neighbours puts out a map
        return _around(step.operation, name, layout, changed, area or self._whole(step.layout))

    def _whole(self, layout: Layout) -> Area:
        origin = np.zeros(self._count, np.int64)
        return Area(origin, origin, layout.height, layout.width)


def _around(
    operation: Neighbours, name: str, layout: Layout, changed: Area, area: Area
) -> Cut | None:
    """All that the outputs `area` read of the input."""
    geometry = operation.geometry
    if geometry.pixelwise and area.same(changed):
        return None
    (down, across), size = geometry.stride, geometry.reads((area.height, area.width))
    reads = Area(area.y * down, area.x * across, *size)
    left, right, top, bottom = geometry.padding
    source = Map(name, (left, right, top, bottom), operation.fill)
    return cut(source, layout, changed, reads)


def _union(spans: list[Spans]) -> Spans:
    first = np.minimum.reduce([span.first for span in spans])
    last = np.maximum.reduce([span.last for span in spans])
    return Spans(first, last, spans[0].length)
