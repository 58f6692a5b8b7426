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

from weakpoints.engine import loops, serial
from weakpoints.engine.changes import Maximum, Windows
from weakpoints.engine.scratch import Scratch
from weakpoints.engine.steps import Convolve, Join, Linear, linear
from weakpoints.engine.windows import Corners, Products, Spans
from weakpoints.networks.network import Conv, Layer, MaxPool, Residual, Trace


@dataclass(frozen=True, eq=False)
class Block:
    layer: Residual
    main: tuple[Linear, ...]
    shortcut: Linear | None


@dataclass(frozen=True, eq=False)
class Clean:
    """Of a layer without a box, (H * W, K): what it puts out, and what it hands to its activation.

    before: None where there is no activation. inner: of a block's main branch, but its last layer.
    """

    rows: Tensor
    before: Tensor | None = None
    inner: tuple["Clean", ...] = ()

    @property
    def own_bytes(self) -> int:
        """That are not the trace's."""
        before = 0 if self.before is None else self.before.nbytes
        return before + sum(each.rows.nbytes + each.own_bytes for each in self.inner)


@dataclass(frozen=True, eq=False)
class Plan:
    """The layers in turn over the windows that the boxes change."""

    boxes: Windows
    steps: tuple[Convolve | Maximum | Join, ...]

    @property
    def products(self) -> Products:
        """Of all steps."""
        return sum((step.products for step in self.steps), Products())

    @cached_property
    def changed(self) -> Tensor:
        """(P, H, W): where the last maps may differ from the clean one."""
        last = self.steps[-1].after
        found = np.zeros((last.pictures, last.y.length, last.x.length), bool)
        found[last.pixels] = True
        return torch.from_numpy(found)

    def room(self, clean: tuple[Clean, ...]) -> int:
        """At most so many numbers are taken from the scratch: two tables, and within a step."""
        windows = (self.boxes, *(step.after for step in self.steps))
        tables = [
            (1 + each.count) * without.rows.shape[1]
            for each, without in zip(windows, clean, strict=True)
        ]
        return max(tables[::2]) + max(tables[1::2]) + max(step.room for step in self.steps)


class Deltas:
    """The layers before the classifier, prepared. Threads may share it."""

    threads = serial.threads()  # that may fill chunks at the same time
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

    def clean(self, trace: Trace, dtype: torch.dtype) -> tuple[Clean, ...]:
        """The picture, and what each layer puts out without a box."""
        x = trace.x.to(dtype)
        found = [Clean(_rows(x))]
        for each, activation in zip(self.layers, trace.activations, strict=False):
            after = activation.to(dtype)
            layer = each if isinstance(each, MaxPool) else each.layer
            found.append(_clean(layer, x, after))
            x = after
        return tuple(found)

    def fill(
        self, plan: Plan, clean: tuple[Clean, ...], colours: Tensor, out: Tensor, scratch: Scratch
    ) -> None:
        """Writes into out (P, H * W, K) the maps behind the last layer.

        Each of the P has a box of its colour, of (P, 3).
        """
        picture, _, _ = plan.boxes.pixels
        table = _table("odd", plan.boxes.count, 3, scratch)
        torch.sub(colours[picture], clean[0].rows[plan.boxes.under], out=table[1:])
        for i, (step, before, after) in enumerate(zip(plan.steps, clean, clean[1:], strict=False)):
            name = ("even", "odd")[i % 2]
            behind = _table(name, step.after.count, after.rows.shape[1], scratch)
            _run(step, table, before, after, behind[1:], scratch)
            table = behind
        last = plan.steps[-1].after
        picture, _, _ = last.pixels
        out.copy_(clean[-1].rows)
        rows = torch.from_numpy(picture * out.shape[1] + last.under)
        out.flatten(0, 1).index_add_(0, rows, table[1:])


def _prepared(layer: Layer) -> Linear | MaxPool | Block:
    match layer:
        case Conv():
            return linear(layer)
        case MaxPool():
            return layer
        case Residual():
            main = tuple(map(_convolution, layer.main))
            return Block(layer, main, _convolution(*layer.shortcut) if layer.shortcut else None)
    raise TypeError(f"{type(layer).__name__} depends on the whole map")


def _convolution(layer: Layer) -> Linear:
    if not isinstance(layer, Conv):
        raise TypeError(f"a residual block with {type(layer).__name__} is not known")
    return linear(layer)


def _step(prepared: Linear | MaxPool | Block, before: Windows) -> Convolve | Maximum | Join:
    match prepared:
        case Linear():
            return Convolve(prepared, before, _through(prepared.layer, before))
        case MaxPool():
            return Maximum(prepared, before, _through(prepared, before))
    main, windows = [], before
    for each in prepared.main:
        main.append(Convolve(each, windows, _through(each.layer, windows)))
        windows = main[-1].after
    shortcut = Convolve(prepared.shortcut, before, windows) if prepared.shortcut else None
    return Join(prepared.layer, tuple(main), shortcut, before)


def _through(layer: Conv | MaxPool, before: Windows) -> Windows:
    return Windows(
        *(
            span.through(layer.kernel, layer.stride, layer.padding, layer.extra)
            for span in (before.y, before.x)
        )
    )


def _clean(layer: Layer, x: Tensor, activation: Tensor) -> Clean:
    """activation: what the layer puts out for x."""
    match layer:
        case Conv():
            before = _rows(replace(layer, relu=False)(x)) if layer.relu else None
            return Clean(_rows(activation), before)
        case Residual():
            inner, y = [], x
            for each in layer.main[:-1]:
                z = each(y)
                inner.append(_clean(each, y, z))
                y = z
            total = layer.main[-1](y)
            total += layer.shortcut[0](x) if layer.shortcut else x
            return Clean(_rows(activation), _rows(total) if layer.relu else None, tuple(inner))
    return Clean(_rows(activation))


def _run(
    step: Convolve | Maximum | Join,
    table: Tensor,
    before: Clean,
    after: Clean,
    out: Tensor,
    scratch: Scratch,
) -> None:
    """table (1 + ., C): the changes before; out (., K): those behind."""
    match step:
        case Maximum():
            loops.pool(step, table, before.rows, after.rows, out)
        case Convolve():
            step(table, out, scratch)
            _activate(step, after, out)
        case Join():
            branch = table
            for i, (part, clean) in enumerate(zip(step.main, after.inner, strict=False)):
                name = ("inner even", "inner odd")[i % 2]
                behind = _table(name, part.after.count, part.channels[1], scratch)
                _run(part, branch, before, clean, behind[1:], scratch)
                branch = behind
            step.main[-1](branch, out, scratch)
            shortcut = scratch.take("shortcut", *out.shape)
            if step.shortcut is None:
                torch.index_select(table, 0, step.index, out=shortcut)
            else:
                step.shortcut(table, shortcut, scratch)
            out.add_(shortcut)
            _activate(step, after, out)


def _activate(step: Convolve | Join, clean: Clean, out: Tensor) -> None:
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
