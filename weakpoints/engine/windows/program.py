"""A graph made ready to be run on windows: which of its operations can, and how.

Each value has a layout where its pixels are known, and None from the first operation on that sees
everything: an average over the map, attention. Convolutions and pools behind it are still read as
such, for whole maps.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from weakpoints.engine.windows.calls import (
    Bounds,
    Call,
    bounds_of,
    call,
    free_inputs,
    products_of,
)
from weakpoints.engine.windows.cuts import Map
from weakpoints.engine.windows.layouts import Layout, after, sized
from weakpoints.engine.windows.neighbours import Neighbours, Padding, Pair
from weakpoints.engine.windows.reading import average_pool, convolution, max_pool, padding
from weakpoints.networks.graph.graph import Graph, Operation

# Pictures of the pass that finds the shapes. A real one takes less than PyTorch's meta device does.
BATCH = 2


@dataclass(frozen=True, eq=False)
class Step:
    """One operation. layout: of what it puts out; None: it needs whole maps, and so do the next.

    size: y, x of the whole map that it puts out, (0, 0) where that is none. products: of a whole
    map, or of all its pixels. elements: numbers of its output, for a picture. bounds: of what only
    clamps its input.
    """

    name: str
    inputs: tuple[str, ...]
    operation: Neighbours | Call
    layout: Layout | None
    size: Pair
    products: int
    elements: int
    bounds: Bounds | None = None

    @property
    def windowed(self) -> bool:
        return self.layout is not None


@dataclass(frozen=True, eq=False)
class Program:
    """layouts: of every value. depths: numbers of a pixel, of those that have a layout."""

    picture: str
    steps: tuple[Step, ...]
    output: str
    layouts: Mapping[str, Layout | None]
    depths: Mapping[str, int]

    def map_elements(self, source: Map) -> int:
        """Numbers of a clean map that is kept."""
        layout, (left, right, top, bottom) = self.layouts[source.value], source.padding
        assert layout is not None
        size = (layout.height + top + bottom) * (layout.width + left + right)
        return size * self.depths[source.value]


@torch.inference_mode()
def program_of(graph: Graph, tensors: Mapping[str, Tensor], side: int) -> Program:
    """For pictures of side x side."""
    writer = _Writer(graph, tensors, side)
    for i, operation in enumerate(graph.operations):
        writer.add(operation)
        writer.forget(i)
    depths = {graph.picture: 3} | {
        step.name: step.elements // (step.layout.height * step.layout.width)
        for step in writer.steps
        if step.layout is not None
    }
    return Program(graph.picture, tuple(writer.steps), graph.output, writer.layouts, depths)


class _Writer:
    """The steps of a graph, one operation after the other."""

    def __init__(self, graph: Graph, tensors: Mapping[str, Tensor], side: int) -> None:
        self._tensors = tensors
        like = next(tensor for tensor in tensors.values() if tensor.is_floating_point())
        self._values: dict[str, Any] = {graph.picture: like.new_zeros(BATCH, 3, side, side)}
        self._last = {
            name: i for i, operation in enumerate(graph.operations) for name in operation.inputs
        }
        self.layouts: dict[str, Layout | None] = {graph.picture: Layout(2, side, side)}
        self.steps: list[Step] = []
        self._free = free_inputs(graph)
        readers = [(name, operation) for operation in graph.operations for name in operation.inputs]
        counts = Counter(name for name, _ in readers)
        self._only_reader = {name: reader for name, reader in readers if counts[name] == 1}
        self._rims: dict[str, tuple[str, Pair]] = {}  # of zeros, which a convolution adds itself

    def add(self, operation: Operation) -> None:
        out = operation(self._values, self._tensors, BATCH)
        self._values[operation.name] = out
        near = self._neighbours(operation, out)
        if near is None:
            layout = after(operation, self.layouts, self._values, self._tensors, out)
        else:
            known = self.layouts[operation.inputs[0]] is not None
            layout = Layout(2, *_pixels(out)) if known else None
        self.layouts[operation.name] = layout
        if isinstance(near, Padding) and self._joins(operation, near):
            (value,) = operation.inputs
            self._rims[operation.name] = value, near.geometry.before
            return
        self.steps.append(self._step(operation, near, layout, out))

    def forget(self, i: int) -> None:
        """Of the values that no operation behind the i-th reads, only the shapes are kept."""
        for name, last in self._last.items():
            value = self._values[name] if last == i else None
            if isinstance(value, Tensor):
                self._values[name] = value.new_empty(()).expand(value.shape)

    def _joins(self, operation: Operation, padding: Padding) -> bool:
        reader = self._only_reader.get(operation.name)
        zeros = padding.fill == 0 and min(padding.geometry.before + padding.geometry.behind) >= 0
        return zeros and reader is not None and reader.family == "conv2d"

    def _step(
        self, operation: Operation, near: Neighbours | None, layout: Layout | None, out: Any
    ) -> Step:
        inputs = [self._rims.get(name, (name,))[0] for name in operation.inputs]
        parts = [part for part in (out if isinstance(out, list | tuple) else [out])]
        elements = sum(part.numel() for part in parts if isinstance(part, Tensor)) // BATCH
        given = [self._given(argument) for argument in operation.arguments]
        products = products_of(operation, given, out) // BATCH
        size = _pixels(out) if layout is None else (layout.height, layout.width)
        if near is not None:
            return Step(operation.name, tuple(inputs), near, layout, size, products, elements)
        first = given[0] if given else None
        same = isinstance(out, Tensor) and isinstance(first, Tensor) and first.shape == out.shape
        named = operation if layout is None else sized(operation, layout)
        ready = call(named, self._tensors, in_place=same and operation.name in self._free)
        unique = tuple(dict.fromkeys(inputs))
        bounds = bounds_of(operation)
        return Step(operation.name, unique, ready, layout, size, products, elements, bounds)

    def _given(self, argument: Any) -> Any:
        match argument:
            case {"value": name}:
                return self._values[name]
            case {"parameter": name}:
                return self._tensors[name]
        return argument

    def _neighbours(self, operation: Operation, out: Any) -> Neighbours | None:
        """None where it reads no map of pixels, or in another way."""
        if not (operation.inputs and operation.arguments[:1] == ({"value": operation.inputs[0]},)):
            return None
        inputs, outputs = self._size(operation.inputs[0]), _pixels(out)
        if self.layouts[operation.inputs[0]] not in (None, Layout(2, *inputs)) or not all(inputs):
            return None
        match operation.family:
            case "conv2d":
                return self._convolution(operation, outputs)
            case "max_pool2d":
                return max_pool(operation, inputs, outputs)
            case "avg_pool2d":
                return average_pool(operation, inputs, outputs)
            case "constant_pad_nd" | "pad":
                return padding(operation, inputs, outputs)
        return None

    def _size(self, name: str) -> Pair:
        return _pixels(self._values[name])

    def _convolution(self, operation: Operation, outputs: Pair) -> Neighbours | None:
        value, rim = self._rims.get(operation.inputs[0], (operation.inputs[0], (0, 0)))
        return convolution(operation, self._tensors, self._size(value), rim, outputs)


def _pixels(value: Any) -> Pair:
    """(0, 0) where it is no batch of maps."""
    is_map = isinstance(value, Tensor) and value.dim() == 4
    return (value.shape[2], value.shape[3]) if is_map else (0, 0)
