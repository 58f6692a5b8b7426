"""The logits of one picture with boxes over it, exactly, computing only what the boxes change.

A box changes a window of each activation map, and all around it is the clean trace. So a map of P pictures is kept as a table of rows
(`window.Tiles`): the clean map once, and the pictures' windows cut into tiles. A layer gathers the rows that its tiles of outputs are
computed from, and computes them as one batch, whatever the windows' sizes: at the border, where they are clipped, there are fewer.
"""

from collections.abc import Callable, Iterable
from functools import lru_cache, partial

import torch
from torch import Tensor

from app.incremental.cuda_graphs import Recorder, cuda_graphs
from app.incremental.kernels import Scratch, Windowed
from app.incremental.plan import Block, Clean, Corners, Join, Plan, Step, kernel, local, plan_of
from app.networks.network import Network, Trace, converted, outputs
from app.progress import Progress, no_progress, part_of

PLANS = 64  # chunks whose indices are kept for the next picture,
REMEMBERED = (
    1024  # unless there are more boxes than this: their plans would only push each other out
)
BUDGET = {
    "cpu": 256 * 2**20,
    "cuda": 4 * 2**30,
}  # a CPU wants chunks that its cache holds, a GPU chunks that fill it
CHUNK = 1024  # pictures, if their memory is in the budget
FEATURES = 0.25  # of the budget is for what waits for the classifier
COPIES = 3  # of it: itself, and what the classifier makes of it when it reads it


class Incremental:
    """A network prepared to answer for boxes. Threads may share it; what it remembers of shapes changes no answer."""

    def __init__(
        self,
        network: Network,
        budget: int | None = None,
        dtype: torch.dtype | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        """budget: bytes that boxes may take, whatever their number, beside the network, the trace and the answer; none: BUDGET's.

        dtype: what windows are computed in, and the network's own if none; the last layer is left as it is, for a drop is a small
        difference of large logits. recorder: how chunks that come again are recorded; none: as CUDA graphs on a GPU, elsewhere not at all.
        """
        layers = tuple(local(network.layers))
        self.network, self.dtype, self._device = (
            network,
            dtype or network.like.dtype,
            network.like.device,
        )
        self.kernels = tuple(kernel(layer) for layer in converted(layers, self.dtype))
        head = network.layers[len(layers) :]
        self._classifier = Network((*converted(head[:-1], self.dtype), *head[-1:]))
        self._budget = budget or BUDGET.get(self._device.type, BUDGET["cpu"])
        self._recorder = recorder or (cuda_graphs() if self._device.type == "cuda" else None)
        self._plan = lru_cache(PLANS)(self.plan)

    def plan(self, side: int, box: int, corners: Corners) -> Plan:
        """What is computed for boxes over a side x side picture."""
        return plan_of(self.kernels, side, box, corners, self._device)

    @torch.inference_mode()
    def logits(
        self,
        trace: Trace,
        corners: Corners,
        box: int,
        colours: Tensor,
        progress: Progress = no_progress,
    ) -> Tensor:
        """(P, C) logits with a box at each of P corners (y, x) of the picture, filled with its colour of the (P, 3).

        `progress` is told after every chunk how many boxes are done; what it raises stops the work.
        Raises OutOfMemoryError where the budget does not hold a single box.
        """
        clean, last = (
            _clean(self.kernels, trace, self.dtype),
            trace.activations[len(self.kernels) - 1],
        )
        lines, colours, side = clean[-1].rows, colours.to(self.dtype), trace.x.shape[-1]
        group = min(len(corners), max(1, int(FEATURES * self._budget) // (COPIES * lines.nbytes)))
        plan = self._plan if len(corners) <= REMEMBERED else self.plan
        scratch, logits = Scratch(lines), []
        for first in range(0, len(corners), group):
            chosen = slice(first, min(first + group, len(corners)))
            features = scratch.take("features", chosen.stop - first, *lines.shape)
            self._fill(
                features,
                clean,
                partial(plan, side, box),
                corners[chosen],
                colours[chosen].repeat_interleave(box * box, 0),
                part_of(progress, first, len(corners)),
            )
            maps = scratch.take("maps", len(features), *last.shape[1:])
            maps.flatten(2).copy_(features.transpose(1, 2))
            logits.append(self._classifier.logits(maps))
        return torch.cat(logits)

    def _fill(
        self,
        features: Tensor,
        clean: tuple[Clean, ...],
        planned: Callable[[Corners], Plan],
        corners: Corners,
        boxes: Tensor,
        progress: Progress,
    ) -> None:
        """features: (P, H * W, K), the maps that the classifier reads. Where memory does not suffice, half as many pictures at a time."""
        scratch, size, done, pixels = Scratch(features), CHUNK, 0, len(boxes) // len(corners)
        while done < len(corners):
            chosen = slice(done, min(done + size, len(corners)))
            plan = planned(corners[chosen])
            try:
                self._check(plan, clean, features)
                self._chunk(
                    plan,
                    clean,
                    boxes[chosen.start * pixels : chosen.stop * pixels],
                    features[chosen],
                    scratch,
                )
            except torch.OutOfMemoryError:
                if size == 1:
                    raise
                size, scratch = size // 2, Scratch(features)
            else:
                done = chosen.stop
                progress("occlusion", done, len(corners))

    def _chunk(
        self, plan: Plan, clean: tuple[Clean, ...], boxes: Tensor, out: Tensor, scratch: Scratch
    ) -> None:
        """boxes: (pixels, 3); out: (p, H * W, K)"""

        def run(inputs: tuple[Tensor, ...], out: Tensor, scratch: Scratch) -> None:
            table = walk(plan.steps, _nested(clean, inputs[:-1]), inputs[-1], scratch)
            torch.index_select(table, 0, plan.whole, out=out.flatten(0, 1))

        inputs = (*_flat(clean), boxes)
        if self._recorder is None:
            run(inputs, out, scratch)
        else:  # what is recorded keeps its memory to itself
            self._recorder(plan, lambda inputs, out: run(inputs, out, Scratch(out)), inputs, out)

    def _check(self, plan: Plan, clean: tuple[Clean, ...], features: Tensor) -> None:
        needed = COPIES * features.nbytes + plan.room(clean) * features.itemsize
        if needed > self._budget:
            raise torch.OutOfMemoryError(f"{needed} bytes are needed and {self._budget} allowed")


def walk(
    steps: tuple[Step | Join, ...], clean: tuple[Clean, ...], boxes: Tensor, scratch: Scratch
) -> Tensor:
    """The table behind the last step. clean: the picture, then what each step puts out without boxes; boxes: (pixels, 3)."""
    table = _table(clean[0].rows, len(boxes), "odd", scratch)
    table[-len(boxes) :] = boxes
    for i, (step, without) in enumerate(zip(steps, clean[1:], strict=True)):
        after = _table(
            without.rows, step.tiles.count * step.tiles.side**2, ("even", "odd")[i % 2], scratch
        )
        out = after[len(without.rows) + 1 :]
        match step:
            case Step():
                _compute(step, table, out, scratch)
            case Join():
                _join(step, table, without.inner, out, scratch)
        table = after
    return table


def _join(
    join: Join, table: Tensor, inner: tuple[Tensor, ...], out: Tensor, scratch: Scratch
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
    shortcut = scratch.take("shortcut", *out.shape)
    _compute(join.shortcut, table, shortcut, scratch)
    out.add_(shortcut)
    if join.layer.relu:
        out.relu_()


def _compute(step: Step, table: Tensor, out: Tensor, scratch: Scratch) -> None:
    """out: (tiles * side * side, K)"""
    step.kernel(table, step.index, out.view(step.tiles.count, -1, out.shape[1]), scratch)


def _table(clean: Tensor, changed: int, name: str, scratch: Scratch) -> Tensor:
    """Room for `changed` rows behind the zeros and the clean map."""
    table = scratch.take(name, 1 + len(clean) + changed, clean.shape[1])
    table[0] = 0
    table[1 : len(clean) + 1] = clean
    return table


def _clean(
    kernels: Iterable[Windowed | Block], trace: Trace, dtype: torch.dtype
) -> tuple[Clean, ...]:
    """The picture, and what each of the kernels puts out without a box."""
    found, x = [Clean(_lines(trace.x).to(dtype))], trace.x.to(dtype)
    for each, activation in zip(kernels, trace.activations, strict=False):
        inner = (
            list(outputs((part.layer for part in each.main[:-1]), x))
            if isinstance(each, Block)
            else []
        )
        x = activation.to(dtype)
        found.append(Clean(_lines(x), tuple(map(_lines, inner))))
    return tuple(found)


def _lines(activation: Tensor) -> Tensor:
    """(1, K, H, W) -> (H * W, K), without a copy where channels come last."""
    return activation[0].permute(1, 2, 0).flatten(0, 1)


def _flat(clean: tuple[Clean, ...]) -> tuple[Tensor, ...]:
    return tuple(rows for each in clean for rows in (each.rows, *each.inner))


def _nested(like: tuple[Clean, ...], flat: tuple[Tensor, ...]) -> tuple[Clean, ...]:
    """The inverse of `_flat`."""
    rest = iter(flat)
    return tuple(Clean(next(rest), tuple(next(rest) for _ in each.inner)) for each in like)
