"""A plan, carried out: on the windows of a chunk, and on the picture that they are cut from."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from weakpoints.engine.windows.calls import COUNT, HEIGHT, WIDTH, Call
from weakpoints.engine.windows.cuts import Map, kept_map
from weakpoints.engine.windows.depthwise import Depthwise
from weakpoints.engine.windows.plan import Placed, Plan
from weakpoints.engine.windows.program import Program, Step

CleanMaps = Callable[[Map], Tensor]  # waits for one that is still in the making


def run(
    program: Program,
    plan: Plan,
    maps: CleanMaps,
    colours: Tensor,
    loops: Mapping[str, Depthwise],
) -> Tensor:
    """(P, C) logits of a chunk's boxes. colours: (P, 3).

    loops: steps that are done by them, by name.
    """
    clamps = {name for loop in loops.values() for name in loop.clamps}
    size = (plan.boxes, plan.box, plan.box, 3)
    boxes = colours[:, None, None].expand(size).clone(memory_format=torch.contiguous_format)
    values: dict[str, Any] = {program.picture: boxes.permute(0, 3, 1, 2)}
    for placed in plan.steps:
        name, inputs = placed.step.name, {name: values[name] for name in placed.step.inputs}
        if name in loops:
            values[name] = _looped(loops[name], placed, maps, inputs)
        elif name in clamps and not placed.cuts:  # what is cut from a clean map is not clamped yet
            (values[name],) = inputs.values()
        else:
            values[name] = _stepped(placed, maps, inputs, plan.boxes)
        for name in placed.done:
            values.pop(name, None)
    logits: Tensor = values[program.output]
    return logits


def _looped(loop: Depthwise, placed: Placed, maps: CleanMaps, inputs: Mapping[str, Any]) -> Tensor:
    ((name, x),) = inputs.items()
    cut = placed.cuts.get(name)
    return loop(x, cut, None if cut is None else maps(cut.source), placed.size)


def _stepped(placed: Placed, maps: CleanMaps, inputs: dict[str, Any], boxes: int) -> Any:
    for name, cut in placed.cuts.items():
        inputs[name] = cut(maps(cut.source), inputs[name])
    sizes = {COUNT: boxes, HEIGHT: placed.size[0], WIDTH: placed.size[1]}
    pads = placed.area is None and not placed.cuts  # a cut has the padding in it
    return _computed(placed.step, inputs, sizes, pads, writes=True)


def clean_maps(program: Program, x: Tensor, wanted: Iterable[Map]) -> Iterator[tuple[Map, Tensor]]:
    """(rows, C) each, of the picture x (1, 3, S, S) without boxes."""
    by_value = defaultdict[str, list[Map]](list)
    for source in wanted:
        by_value[source.value].append(source)
    last = {name: i for i, step in enumerate(program.steps) for name in step.inputs}
    values: dict[str, Any] = {program.picture: x}

    def kept(name: str) -> Iterator[tuple[Map, Tensor]]:
        layout = program.layouts[name]
        for source in by_value.pop(name, []):
            assert layout is not None
            yield source, kept_map(source, values[name], layout)

    yield from kept(program.picture)
    for i, step in enumerate(program.steps):
        if not by_value:
            break
        inputs = {name: values[name] for name in step.inputs}
        sizes = {COUNT: 1, HEIGHT: step.size[0], WIDTH: step.size[1]}
        values[step.name] = _computed(step, inputs, sizes, pads=True, writes=False)
        yield from kept(step.name)
        for name in step.inputs:
            if last[name] == i:
                values.pop(name, None)


def _computed(
    step: Step,
    inputs: Mapping[str, Any],
    sizes: Mapping[str, int],
    pads: bool,
    *,
    writes: bool,
) -> Any:
    if isinstance(step.operation, Call):
        return step.operation({**inputs, **sizes}, writes=writes)
    (x,) = inputs.values()
    return step.operation.on_map(x) if pads else step.operation.on_windows(x)
