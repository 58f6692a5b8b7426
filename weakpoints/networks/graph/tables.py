"""A graph as a chain of the layers that the engine knows.

It is cut wherever all passes through a single value. A convolution with its padding and its
activation, a pool, a residual block, a linear layer on a map are layers of their own; whatever else
lies between two cuts is a `Segment`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf, prod

from torch import Tensor

from weakpoints.networks.graph.graph import Graph, Operation
from weakpoints.networks.graph.reading import (
    Section,
    average,
    ceiling,
    conv,
    linear,
    max_pool,
    padding,
)
from weakpoints.networks.graph.segment import Segment
from weakpoints.networks.graph.shapes import BATCH, Shapes
from weakpoints.networks.network import Conv, Layer, Linear, Residual

FLATTENING = {"flatten", "view", "reshape", "_unsafe_view", "squeeze"}


def layers_of(graph: Graph, tensors: Mapping[str, Tensor], shapes: Shapes) -> Iterator[Layer]:
    """In order; shapes: of every value, for BATCH pictures."""
    reader = _Reader(tensors, shapes)
    return reader.layers(tuple(_cut(graph.operations, graph.picture, graph.output, shapes)))


def _cut(
    operations: Sequence[Operation], entry: str, output: str, shapes: Shapes
) -> Iterator[Section]:
    start = 0
    last_read = {name: i for i, operation in enumerate(operations) for name in operation.inputs}
    last_read[output] = len(operations)
    live = 1  # values that are still to be read
    for i, operation in enumerate(operations):
        live += operation.name in last_read
        live -= sum(last_read[name] == i for name in set(operation.inputs))
        shape = shapes[operation.name]
        is_batch = shape is not None and len(shape) > 1 and shape[0] == BATCH
        if live == 1 and operation.name in last_read and is_batch:
            yield Section(tuple(operations[start : i + 1]), entry, operation.name)
            entry, start = operation.name, i + 1


@dataclass(frozen=True)
class _Reader:
    tensors: Mapping[str, Tensor]
    shapes: Shapes

    def layers(self, sections: Sequence[Section]) -> Iterator[Layer]:
        done = 0
        while done < len(sections):
            count, made = self._first(sections[done:])
            done += count
            for layer in made:
                # the activation behind it, where the layer has a place for it
                if layer is made[-1] and done < len(sections):
                    activated = _activated(layer, sections[done])
                    done += activated is not None
                    layer = activated or layer
                yield layer

    def _first(self, sections: Sequence[Section]) -> tuple[int, tuple[Layer, ...]]:
        """Of how many sections the next layers are made, and these layers."""
        classifier = self._classifier(sections[:3])
        if classifier is not None:
            return classifier
        first, following = sections[0], sections[1] if len(sections) > 1 else None
        if following is not None and following.family == "conv2d":
            rim, padded = padding(first), conv(following, self.tensors)
            if rim is not None and padded is not None and padded.padding == 0:
                return 2, (replace(padded, padding=rim[0], extra=rim[1] - rim[0]),)
        layer = conv(first, self.tensors) or max_pool(first) or self._residual(first)
        return 1, (layer or self._segment(first),)

    def _segment(self, section: Section) -> Segment:
        mine = {
            key: self.tensors[key]
            for operation in section.operations
            for key in operation.parameters
        }
        return Segment(section.operations, mine, section.entry, section.exit)

    def _residual(self, section: Section) -> Residual | None:
        """Two branches of convolutions that are added, the shorter of which may be no more than
        the input itself or one convolution.
        """
        *inner, total = section.operations
        if not inner or total.kind != "add.Tensor" or total.options or len(total.inputs) != 2:
            return None
        if len({self.shapes[name] for name in total.inputs}) > 1:
            return None  # it is broadcast
        branches = [self._branch(inner, section.entry, name) for name in total.inputs]
        if sum(len(operations) for operations, _ in branches) != len(inner):
            return None  # they share some
        shortcut, main = sorted((layers for _, layers in branches), key=len)
        known = all(isinstance(layer, Conv) for layer in (*shortcut, *main))
        ends = (*shortcut, *main[-1:])
        if not main or not known or len(shortcut) > 1 or any(layer.relu for layer in ends):
            return None
        return Residual(main, shortcut, relu=False)

    def _branch(
        self, operations: Sequence[Operation], entry: str, output: str
    ) -> tuple[list[Operation], tuple[Layer, ...]]:
        """What leads from one value to another, and its layers."""
        wanted, found = {output}, list[Operation]()
        for operation in reversed(operations):
            if operation.name in wanted:
                wanted.update(operation.inputs)
                found.insert(0, operation)
        sections = tuple(_cut(found, entry, output, self.shapes))
        return found, tuple(self.layers(sections))

    def _classifier(self, sections: Sequence[Section]) -> tuple[int, tuple[Layer, ...]] | None:
        """A linear layer, with the average over the map and the flattening before it."""
        names = [section.family for section in sections]
        if "linear" not in names:
            return None
        *before, last = sections[: names.index("linear") + 1]
        layer = linear(last, self.tensors)
        pools = [pool for pool in map(average, before) if pool is not None]
        flat = [section for section in before if section.family in FLATTENING]
        if layer is None or len(pools) + len(flat) != len(before) or len(pools) > 1:
            return None
        if pools and average(before[0]) is None:
            return None
        shape, flattened = self.shapes[sections[0].entry], self.shapes[last.entry]
        if shape is None or flattened is None or len(flattened) != 2:
            return None
        if len(shape) != 4 and (pools or len(shape) != 2):
            return None
        cells = pools[0].side ** 2 if pools else prod(shape[2:])
        if layer.weight.shape[1] != shape[1] * cells:
            return None
        made = replace(layer, weight=_by_cells(layer.weight, cells))
        return len(before) + 1, (*pools, made)


def _by_cells(weight: Tensor, cells: int) -> Tensor:
    """(N, K * cells) -> (N, cells * K): PyTorch flattens a map channel by channel."""
    if cells == 1:
        return weight
    return weight.view(len(weight), -1, cells).transpose(1, 2).flatten(1)


def _activated(layer: Layer, section: Section) -> Layer | None:
    """The layer with this section as its activation; None where it has no place for it."""
    if not isinstance(layer, Conv | Residual | Linear) or layer.relu:
        return None
    highest = ceiling(section)
    if highest is None:
        return None
    if isinstance(layer, Conv):
        return replace(layer, relu=True, ceiling=highest)
    return replace(layer, relu=True) if highest == inf else None
