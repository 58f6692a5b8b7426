"""The engine's form on a CPU: each layer's windows hold changes d = x' - x, not values x'.

A convolution of changes is input-stationary: w changed inputs of an axis cost w, not w + 2, and
become w + 2 changed outputs, which add up where blocks overlap. What is not linear is computed from
values: d_out = f(before + d) - f(before), with `before` what the layer hands to f without a box.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from weakpoints.engine.changes import loops
from weakpoints.engine.changes.steps import ConvStep, ConvWeights, ResidualStep, conv_weights
from weakpoints.engine.changes.windows import PoolStep, Windows
from weakpoints.engine.scratch import Scratch
from weakpoints.engine.spans import Corners, Products, Spans
from weakpoints.engine.threads import usable_threads
from weakpoints.networks.network import Conv, Layer, MaxPool, Residual, Trace


@dataclass(frozen=True, eq=False)
class ResidualKernels:
    layer: Residual
    main: tuple[ConvWeights, ...]
    shortcut: ConvWeights | None


@dataclass(frozen=True, eq=False)
class CleanLayer:
    """Of a layer without a box, (H * W, K): what it puts out, and what it hands to its activation.

    before: None where there is no activation. inner: of a block's main branch, but its last layer.
    """

    rows: Tensor
    before: Tensor | None = None
    inner: tuple["CleanLayer", ...] = ()

    @property
    def own_bytes(self) -> int:
        """That are not the trace's."""
        before = 0 if self.before is None else self.before.nbytes
        return before + sum(layer.rows.nbytes + layer.own_bytes for layer in self.inner)


@dataclass(frozen=True, eq=False)
class Plan:
    """The layers in turn over the windows that the boxes change."""

    boxes: Windows
    steps: tuple[ConvStep | PoolStep | ResidualStep, ...]

    @property
    def products(self) -> Products:
        """Of all steps."""
        return sum((step.products for step in self.steps), Products())

    @cached_property
    def changed(self) -> Tensor:
        """(P, H, W): where the last maps may differ from the clean one."""
        last = self.steps[-1].after
        mask = np.zeros((last.pictures, last.y.length, last.x.length), bool)
        mask[last.pixels] = True
        return torch.from_numpy(mask)

    def scratch_elements(self, clean: tuple[CleanLayer, ...]) -> int:
        """At most so many numbers are taken from the scratch: two tables, and within a step."""
        windows = (self.boxes, *(step.after for step in self.steps))
        tables = [
            (1 + window.count) * without.rows.shape[1]
            for window, without in zip(windows, clean, strict=True)
        ]
        return (
            max(tables[::2]) + max(tables[1::2]) + max(step.scratch_elements for step in self.steps)
        )


class ChangesForm:
    """The layers before the classifier, prepared. Threads may share it."""

    name = "deltas"  # as doctor and benchmarks have called it from the start
    threads = usable_threads()  # that may fill chunks at the same time
    shares = 4  # of the memory budget, for as many threads at most

    def __init__(self, layers: tuple[Layer, ...]) -> None:
        self.layers = tuple(map(_prepared, layers))

    def plan(self, side: int, box: int, corners: Corners) -> Plan:
        """What is computed for boxes over a side x side picture."""
        y, x = np.array(corners).T
        boxes = windows = Windows(Spans(y, y + box - 1, side), Spans(x, x + box - 1, side))
        steps = []
        for layer in self.layers:
            steps.append(_step(layer, windows))
            windows = steps[-1].after
        return Plan(boxes, tuple(steps))

    def clean(self, trace: Trace, dtype: torch.dtype) -> tuple[CleanLayer, ...]:
        """The picture, and what each layer puts out without a box."""
        x = trace.x.to(dtype)
        layers = [CleanLayer(_rows(x))]
        for prepared, activation in zip(self.layers, trace.activations, strict=False):
            after = activation.to(dtype)
            layer = prepared if isinstance(prepared, MaxPool) else prepared.layer
            layers.append(_clean(layer, x, after))
            x = after
        return tuple(layers)

    def fill(
        self,
        plan: Plan,
        clean: tuple[CleanLayer, ...],
        colours: Tensor,
        out: Tensor,
        scratch: Scratch,
    ) -> None:
        """Writes into out (P, H * W, K) the maps behind the last layer.

        Each of the P has a box of its colour, of (P, 3).
        """
        # under a box, a pixel's change is the colour less the picture: (1 + boxes' pixels, 3)
        picture, _, _ = plan.boxes.pixels
        table = _table("odd", plan.boxes.count, 3, scratch)
        torch.sub(colours[picture], clean[0].rows[plan.boxes.map_index], out=table[1:])
        for i, (step, before, after) in enumerate(zip(plan.steps, clean, clean[1:], strict=False)):
            # two tables take turns: one is read, the other written, (1 + pixels, C) -> (1 + ., K)
            name = ("even", "odd")[i % 2]
            output = _table(name, step.after.count, after.rows.shape[1], scratch)
            _run(step, table, before, after, output[1:], scratch)
            table = output
        last = plan.steps[-1].after
        picture, _, _ = last.pixels
        # the last maps are the clean ones, (H * W, K) for every picture, and the changes on top
        out.copy_(clean[-1].rows)
        rows = torch.from_numpy(picture * out.shape[1] + last.map_index)
        out.flatten(0, 1).index_add_(0, rows, table[1:])


def _prepared(layer: Layer) -> ConvWeights | MaxPool | ResidualKernels:
    match layer:
        case Conv():
            return conv_weights(layer)
        case MaxPool():
            return layer
        case Residual():
            main = tuple(map(_convolution, layer.main))
            return ResidualKernels(
                layer, main, _convolution(*layer.shortcut) if layer.shortcut else None
            )
    raise TypeError(f"{type(layer).__name__} depends on the whole map")


def _convolution(layer: Layer) -> ConvWeights:
    if not isinstance(layer, Conv):
        raise TypeError(f"a residual block with {type(layer).__name__} is not known")
    return conv_weights(layer)


def _step(
    prepared: ConvWeights | MaxPool | ResidualKernels, before: Windows
) -> ConvStep | PoolStep | ResidualStep:
    match prepared:
        case ConvWeights():
            return ConvStep(prepared, before, _through(prepared.layer, before))
        case MaxPool():
            return PoolStep(prepared, before, _through(prepared, before))
    main, windows = [], before
    for part in prepared.main:
        main.append(ConvStep(part, windows, _through(part.layer, windows)))
        windows = main[-1].after
    shortcut = ConvStep(prepared.shortcut, before, windows) if prepared.shortcut else None
    return ResidualStep(prepared.layer, tuple(main), shortcut, before)


def _through(layer: Conv | MaxPool, before: Windows) -> Windows:
    return Windows(
        *(
            span.through(layer.kernel, layer.stride, layer.padding, layer.extra)
            for span in (before.y, before.x)
        )
    )


def _clean(layer: Layer, x: Tensor, activation: Tensor) -> CleanLayer:
    """activation: what the layer puts out for x."""
    match layer:
        case Conv():
            before = _rows(replace(layer, relu=False)(x)) if layer.relu else None
            return CleanLayer(_rows(activation), before)
        case Residual():
            inner, y = [], x
            for part in layer.main[:-1]:
                z = part(y)
                inner.append(_clean(part, y, z))
                y = z
            total = layer.main[-1](y)
            total += layer.shortcut[0](x) if layer.shortcut else x
            return CleanLayer(_rows(activation), _rows(total) if layer.relu else None, tuple(inner))
    return CleanLayer(_rows(activation))


def _run(
    step: ConvStep | PoolStep | ResidualStep,
    table: Tensor,
    before: CleanLayer,
    after: CleanLayer,
    out: Tensor,
    scratch: Scratch,
) -> None:
    """table (1 + ., C): the changes before; out (., K): those after the step."""
    match step:
        case PoolStep():
            loops.pool(step, table, before.rows, after.rows, out)
        case ConvStep():
            step(table, out, scratch)
            _activate(step, after, out)
        case ResidualStep():
            # the main branch, but for its last convolution: (1 + pixels, C) each
            branch = table
            for i, (part, clean) in enumerate(zip(step.main, after.inner, strict=False)):
                name = ("inner even", "inner odd")[i % 2]
                output = _table(name, part.after.count, part.channels[1], scratch)
                _run(part, branch, before, clean, output[1:], scratch)
                branch = output
            step.main[-1](branch, out, scratch)
            # main + shortcut over the main branch's window, which is the larger one: (pixels, K)
            shortcut = scratch.take("shortcut", *out.shape)
            if step.shortcut is None:
                torch.index_select(table, 0, step.index, out=shortcut)
            else:
                step.shortcut(table, shortcut, scratch)
            out.add_(shortcut)
            _activate(step, after, out)


def _activate(step: ConvStep | ResidualStep, clean: CleanLayer, out: Tensor) -> None:
    if clean.before is not None:
        loops.activate(out, step.after, clean.rows, clean.before, step.layer.ceiling)


def _table(name: str, count: int, channels: int, scratch: Scratch) -> Tensor:
    """Room for `count` rows behind the row of zeros."""
    table = scratch.take(name, 1 + count, channels)
    table[0] = 0
    return table


def _rows(activation: Tensor) -> Tensor:
    """(1, K, H, W) -> (H * W, K), without a copy where channels come last."""
    return activation[0].permute(1, 2, 0).flatten(0, 1)
