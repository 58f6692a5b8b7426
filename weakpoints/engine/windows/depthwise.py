"""Depthwise convolutions of a program with the clamps beside them, as one compiled loop each.

The loop reads the windows and the clean map where they lie: nothing is cut. Inputs are clamped as
they are read, outputs as they are written, where nobody else reads what lies between.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from math import inf
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from weakpoints.engine.windows.calls import Bounds, Call
from weakpoints.engine.windows.cuts import Cut
from weakpoints.engine.windows.neighbours import Convolution, Pair
from weakpoints.engine.windows.program import Program, Step

BLOCK = 64  # channels of a patch that lie together; compiled loops that are kept on disk know it
TILE = 7  # outputs that are computed together, at most
WIDEST = 7  # kernel, whose row stays in registers
NUMBA = find_spec("numba") is not None
NONE = Bounds(-inf, inf)
PICTURES, TIMES = 4, 3  # of a trial on whole maps; the quickest counts


def compiled() -> Any:
    """The module `compiled`, at its first use: Numba's import takes longer than what the loops save
    on one picture.
    """
    from weakpoints.engine.windows import compiled

    return compiled


def patch_elements(convolution: Convolution, size: Pair) -> int:
    """Numbers of what is put together for the outputs of one window; the last tiles read on behind
    each block.
    """
    height, width = convolution.geometry.reads(size)
    behind = TILE * convolution.geometry.stride[1] + convolution.geometry.kernel[1]
    return -(-len(convolution.weight) // BLOCK) * (height * width + behind) * BLOCK


@dataclass(frozen=True, eq=False)
class Depthwise:
    """clamps: the steps beside it that are done with it. weights: see `compiled.depthwise`."""

    convolution: Convolution
    inputs: Bounds
    outputs: Bounds
    clamps: tuple[str, ...]
    weights: NDArray[np.float64]

    def __call__(self, x: Tensor, cut: Cut | None, clean: Tensor | None, size: Pair) -> Tensor:
        """(P, C, h', w') of windows x (P, C, h, w) on a clean map, or of whole maps without.

        size: of the outputs.
        """
        loops, geometry = compiled(), self.convolution.geometry
        pictures, channels, height, width = x.shape
        origins = np.array([(0, *geometry.before, 0)] * pictures) if cut is None else cut.origins
        table = x.permute(0, 2, 3, 1).reshape(-1)
        extra = loops.TILE * loops.BYTES // x.itemsize
        out = x.new_empty(pictures * size[0] * size[1] * channels + extra)
        patch = x.new_zeros(patch_elements(self.convolution, size))
        loops.depthwise(
            table.numpy(),
            ((height, width), geometry.reads(size), size),
            channels,
            (table[:0] if clean is None else clean.reshape(-1)).numpy(),
            origins,
            self.weights,
            ((0,) * geometry.kernel[0], (0,) * geometry.kernel[1], (0,) * geometry.stride[1]),
            geometry.stride[0],
            (self.inputs.low, self.inputs.high, self.outputs.low, self.outputs.high),
            patch.numpy(),
            out.numpy(),
        )
        rows = out[: len(out) - extra].view(pictures, *size, channels)
        return rows.permute(0, 3, 1, 2)


def depthwise_of(program: Program) -> dict[str, Depthwise]:
    """By the names of their steps. What can't be so: holes in kernels, more outputs than inputs."""
    readers = Counter(name for step in program.steps for name in step.inputs)
    readers[program.output] += 1
    steps = {step.name: step for step in program.steps}
    reader = {name: step for step in program.steps for name in step.inputs if readers[name] == 1}
    loops = {}
    for step in program.steps:
        if isinstance(step.operation, Convolution) and _fits(step.operation):
            (name,) = step.inputs
            before, after = steps.get(name), reader.get(step.name)
            # It gets what the clamp's input holds: nobody else may read or write there.
            free = before if reader.get(name) is step and before and _in_place(before) else None
            clamps = [near for near in (free, after) if near and near.bounds]
            inputs, outputs = (near.bounds if near else None for near in (free, after))
            names = tuple(near.name for near in clamps)
            weights = _packed(step.operation)
            loops[step.name] = Depthwise(
                step.operation, inputs or NONE, outputs or NONE, names, weights
            )
    return loops


@torch.inference_mode()
def quicker_on_maps(
    loops: Mapping[str, Depthwise], steps: Iterable[Step], pictures: int = PICTURES
) -> set[str]:
    """The loops of these steps that are quicker on whole maps than PyTorch's own convolution.

    Tried once for each shape. Call it in a thread that starts no others.
    """
    tried, quicker = dict[tuple[Any, ...], bool](), set()
    for step in steps:
        if step.name not in loops:
            continue
        convolution = loops[step.name].convolution
        shape = (len(convolution.weight), convolution.geometry, step.size)
        if shape not in tried:
            tried[shape] = _quicker(loops[step.name], step.size, pictures)
        if tried[shape]:
            quicker.add(step.name)
    return quicker


def _quicker(loop: Depthwise, size: Pair, pictures: int) -> bool:
    weight, geometry = loop.convolution.weight, loop.convolution.geometry
    height, width = (
        geometry.reads(size)[i] - geometry.before[i] - geometry.behind[i] for i in range(2)
    )
    x = weight.new_zeros(pictures, height, width, len(weight)).permute(0, 3, 1, 2)
    own, loops = (
        min(_seconds(run) for _ in range(TIMES))
        for run in (lambda: loop.convolution.on_map(x), lambda: loop(x, None, None, size))
    )
    return loops < own


def _seconds(run: Callable[[], object]) -> float:
    """Of the processor, of this thread."""
    start = time.thread_time()
    run()
    return time.thread_time() - start


def _in_place(step: Step) -> bool:
    return isinstance(step.operation, Call) and step.operation.in_place is not None


def _fits(convolution: Convolution) -> bool:
    small = convolution.geometry.kernel[1] <= WIDEST
    return convolution.depthwise and small and convolution.dilation == (1, 1)


def _packed(convolution: Convolution) -> NDArray[np.float64]:
    """(blocks * (kernel's pixels + 1) * BLOCK,): the bias is behind the pixels."""
    weight = convolution.weight
    bias = weight.new_zeros(len(weight)) if convolution.bias is None else convolution.bias
    rows = torch.cat([weight.flatten(1), bias[:, None]], 1)  # (C, pixels + 1)
    padded = rows.new_zeros(-(-len(rows) // BLOCK) * BLOCK, rows.shape[1])
    padded[: len(rows)] = rows
    packed: NDArray[np.float64] = (
        padded.view(-1, BLOCK, rows.shape[1]).transpose(1, 2).reshape(-1).numpy()
    )
    return packed
