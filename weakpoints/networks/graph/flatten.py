"""A table of layers as a graph: each layer is an operation or a few, blocks are opened."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf
from typing import Any

from torch import Tensor

from weakpoints.networks.graph.graph import Graph, Operation
from weakpoints.networks.graph.segment import Segment
from weakpoints.networks.network import AveragePool, Conv, Layer, Linear, MaxPool, Residual

PICTURE = "picture"


def graph_of_layers(layers: Iterable[Layer]) -> tuple[Graph, dict[str, Tensor]]:
    """The same function of (N, 3, S, S) as the layers in a row, and its tensors by name."""
    writer = _Writer()
    output = writer.chain(layers, PICTURE)
    return Graph(PICTURE, tuple(writer.operations), output), writer.tensors


@dataclass(frozen=True)
class _Writer:
    operations: list[Operation] = field(default_factory=list)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    one_cell: dict[str, int] = field(default_factory=dict)  # the axes of such values

    def chain(self, layers: Iterable[Layer], value: str) -> str:
        """The name of what the last layer puts out for the value of that name."""
        for layer in layers:
            value = self._layer(layer, value)
        return value

    def _layer(self, layer: Layer, value: str) -> str:
        match layer:
            case Conv():
                value = self._conv(layer, value)
            case MaxPool():
                sizes = ([size, size] for size in (layer.kernel, layer.stride, layer.padding))
                return self._add("max_pool2d.default", value, *sizes)
            case Residual():
                main, shortcut = (self.chain(part, value) for part in (layer.main, layer.shortcut))
                value = self._add("add.Tensor", main, {"value": shortcut})
            case AveragePool():
                value = self._add("adaptive_avg_pool2d.default", value, [layer.side, layer.side])
                self.one_cell.update({value: 4} if layer.side == 1 else {})
                return value
            case Linear():
                value = self._linear(layer, value)
            case Segment():
                return self._segment(layer, value)
        if layer.relu and layer.ceiling == inf:
            value = self._add("relu.default", value)
        if isinstance(layer, Linear):
            self.one_cell[value] = 2
        if not layer.relu or layer.ceiling == inf:
            return value
        return self._add("hardtanh.default", value, 0.0, layer.ceiling)

    def _conv(self, layer: Conv, value: str) -> str:
        if layer.extra:
            value = self._add("constant_pad_nd.default", value, [0, layer.extra] * 2, 0.0)
        sizes = ([size, size] for size in (layer.stride, layer.padding, 1))
        weights = self._weights(weight=layer.weight, bias=layer.bias)
        return self._add("conv2d.default", value, *weights, *sizes, layer.groups)

    def _linear(self, layer: Linear, value: str) -> str:
        """A map's cells lie one after the other; of a vector there is one."""
        if value not in self.one_cell:
            value = self._add("movedim.int", value, 1, -1)
        if self.one_cell.get(value) != 2:
            value = self._add("flatten.using_ints", value, 1)
        return self._add("linear.default", value, *self._weights(layer.weight, layer.bias))

    def _segment(self, segment: Segment, value: str) -> str:
        self.tensors.update(segment.tensors)
        entry = {segment.entry: {"value": value}}
        self.operations.extend(operation.replaced(entry) for operation in segment.operations)
        return value if segment.exit == segment.entry else segment.exit

    def _weights(self, weight: Tensor, bias: Tensor | None) -> tuple[dict[str, str] | None, ...]:
        name = f"layer {len(self.operations)}"
        self.tensors[f"{name}.weight"] = weight
        if bias is None:
            return {"parameter": f"{name}.weight"}, None
        self.tensors[f"{name}.bias"] = bias
        return {"parameter": f"{name}.weight"}, {"parameter": f"{name}.bias"}

    def _add(self, kind: str, value: str, *arguments: Any) -> str:
        name = f"value {len(self.operations)}"
        self.operations.append(Operation(name, kind, ({"value": value}, *arguments), {}))
        return name
