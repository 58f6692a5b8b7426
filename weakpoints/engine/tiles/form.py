"""The engine's form on a GPU, and in half precision: each layer's windows hold values.

A map of P pictures is kept as a table of rows (`spans.Tiles`): the clean map once, and the
pictures' windows cut into tiles. A layer gathers the rows that its tiles of outputs are computed
from, and computes them as one batch, whatever the windows' sizes.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from weakpoints.engine.scratch import Scratch
from weakpoints.engine.spans import Corners
from weakpoints.engine.tiles.cuda_graphs import Recorder, cuda_graphs
from weakpoints.engine.tiles.kernels import Windowed
from weakpoints.engine.tiles.plan import (
    CleanLayer,
    LayerStep,
    Plan,
    ResidualKernels,
    ResidualStep,
    kernel,
    plan_of,
)
from weakpoints.networks.network import Layer, Trace, outputs
from weakpoints.networks.precision import tuned


class TilesForm:
    """The layers before the classifier, prepared. Threads may share it."""

    name = "values"  # as doctor and benchmarks have called it from the start
    threads = 1  # that may fill chunks at the same time
    shares = 1  # of the memory budget, for as many threads

    def __init__(
        self, layers: tuple[Layer, ...], device: torch.device, recorder: Recorder | None
    ) -> None:
        """recorder: of chunks that come again; None: CUDA graphs on a GPU, elsewhere none."""
        self.kernels, self._device = tuple(map(kernel, layers)), device
        self._recorder = recorder or (cuda_graphs() if device.type == "cuda" else None)

    def plan(self, side: int, box: int, corners: Corners) -> Plan:
        """What is computed for boxes over a side x side picture."""
        return plan_of(self.kernels, side, box, corners, self._device)

    def clean(self, trace: Trace, dtype: torch.dtype) -> tuple[CleanLayer, ...]:
        """The picture, and what each layer puts out without a box."""
        return _clean(self.kernels, trace, dtype)

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

        def run(inputs: tuple[Tensor, ...], out: Tensor, scratch: Scratch) -> None:
            table = walk(plan.steps, _nested(clean, inputs[:-1]), inputs[-1], scratch)
            torch.index_select(table, 0, plan.whole, out=out.flatten(0, 1))

        inputs = (*_flat(clean), colours.repeat_interleave(plan.pixels, 0))
        with tuned(self._device.type):
            if self._recorder is None:
                run(inputs, out, scratch)
            else:  # what is recorded keeps its memory to itself
                self._recorder(
                    plan,
                    lambda inputs, out: run(inputs, out, Scratch(out, triton=scratch.triton)),
                    inputs,
                    out,
                )


def walk(
    steps: tuple[LayerStep | ResidualStep, ...],
    clean: tuple[CleanLayer, ...],
    boxes: Tensor,
    scratch: Scratch,
) -> Tensor:
    """The table behind the last step.

    clean: the picture, then what each step puts out without boxes.
    boxes: (pixels, 3).
    """
    # (1 + H * W + boxes' pixels, 3): a row of zeros, the picture, the boxes' colours
    table = _table(clean[0].rows, len(boxes), "odd", scratch)
    table[-len(boxes) :] = boxes
    for i, (step, without) in enumerate(zip(steps, clean[1:], strict=True)):
        # (1 + H * W + T * side * side, K): zeros and the clean map, then T tiles to be computed
        after = _table(
            without.rows, step.tiles.count * step.tiles.side**2, ("even", "odd")[i % 2], scratch
        )
        out = after[len(without.rows) + 1 :]
        match step:
            case LayerStep():
                _compute(step, table, out, scratch)
            case ResidualStep():
                _join(step, table, without.inner, out, scratch)
        table = after
    return table


def _join(
    join: ResidualStep, table: Tensor, inner: tuple[Tensor, ...], out: Tensor, scratch: Scratch
) -> None:
    branch = table
    for i, (step, clean) in enumerate(zip(join.main, inner, strict=False)):
        after = _table(
            clean,
            step.tiles.count * step.tiles.side**2,
            ("inner even", "inner odd")[i % 2],
            scratch,
        )
        _compute(step, branch, after[len(clean) + 1 :], scratch)
        branch = after
    _compute(join.main[-1], branch, out, scratch)
    # the shortcut for the tiles of the main branch: (T * side * side, K)
    shortcut = scratch.take("shortcut", *out.shape)
    _compute(join.shortcut, table, shortcut, scratch)
    out.add_(shortcut)
    if join.layer.relu:
        out.relu_()


def _compute(step: LayerStep, table: Tensor, out: Tensor, scratch: Scratch) -> None:
    """out: (tiles * side * side, K)"""
    step.kernel(table, step.index, out.view(step.tiles.count, -1, out.shape[1]), scratch)


def _table(clean: Tensor, changed: int, name: str, scratch: Scratch) -> Tensor:
    """Room for `changed` rows behind the zeros and the clean map."""
    table = scratch.take(name, 1 + len(clean) + changed, clean.shape[1])
    table[0] = 0
    table[1 : len(clean) + 1] = clean
    return table


def _clean(
    kernels: Iterable[Windowed | ResidualKernels], trace: Trace, dtype: torch.dtype
) -> tuple[CleanLayer, ...]:
    """The picture, and what each of the kernels puts out without a box."""
    layers, x = [CleanLayer(_lines(trace.x).to(dtype))], trace.x.to(dtype)
    for layer, activation in zip(kernels, trace.activations, strict=False):
        inner = (
            list(outputs((part.layer for part in layer.main[:-1]), x))
            if isinstance(layer, ResidualKernels)
            else []
        )
        x = activation.to(dtype)
        layers.append(CleanLayer(_lines(x), tuple(map(_lines, inner))))
    return tuple(layers)


def _lines(activation: Tensor) -> Tensor:
    """(1, K, H, W) -> (H * W, K), without a copy where channels come last."""
    return activation[0].permute(1, 2, 0).flatten(0, 1)


def _flat(clean: tuple[CleanLayer, ...]) -> tuple[Tensor, ...]:
    return tuple(rows for layer in clean for rows in (layer.rows, *layer.inner))


def _nested(like: tuple[CleanLayer, ...], flat: tuple[Tensor, ...]) -> tuple[CleanLayer, ...]:
    """The inverse of `_flat`."""
    rest = iter(flat)
    return tuple(CleanLayer(next(rest), tuple(next(rest) for _ in layer.inner)) for layer in like)
