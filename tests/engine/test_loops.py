"""The loops, compiled and interpreted, and their twins in PyTorch, against whole maps."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from weakpoints.engine.changes import loops
from weakpoints.engine.changes.steps import ConvStep, conv_weights
from weakpoints.engine.changes.windows import PoolStep, Windows
from weakpoints.engine.scratch import Scratch
from weakpoints.engine.spans import Spans
from weakpoints.networks.network import Conv, MaxPool


@st.composite
def windows(draw: st.DrawFn) -> Windows:
    height, width, pictures = draw(st.tuples(*[st.integers(1, 17)] * 2, st.integers(1, 3)))

    def spans(length: int) -> Spans:
        pixel = st.integers(0, length - 1)
        pairs = draw(st.lists(st.tuples(pixel, pixel), min_size=pictures, max_size=pictures))
        ordered = np.sort(np.array(pairs), 1)
        return Spans(ordered[:, 0], ordered[:, 1], length)

    return Windows(spans(height), spans(width))


def through(layer: Conv | MaxPool, before: Windows) -> Windows:
    reach = (layer.kernel, layer.stride, layer.padding)
    return Windows(before.y.through(*reach), before.x.through(*reach))


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def whole(table: Tensor, where: Windows) -> Tensor:
    """(P, C, H, W): the changes as maps, zero outside the windows."""
    maps = torch.zeros(where.pictures, where.y.length, where.x.length, table.shape[1]).double()
    picture, y, x = where.pixels
    maps[picture, y, x] = table[1:]
    return maps.permute(0, 3, 1, 2)


def rows(maps: Tensor, where: Windows) -> Tensor:
    picture, y, x = where.pixels
    return maps.permute(0, 2, 3, 1)[picture, y, x]


def changes(where: Windows, channels: int, seed: int) -> Tensor:
    table = random(1 + where.count, channels, seed=seed)
    table[0] = 0
    return table


@contextmanager
def looped(how: str) -> Iterator[None]:
    """How loops run: `interpreted` are the compiled ones as plain Python, which coverage sees."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loops, "NUMBA", how != "twin" and loops.NUMBA)
        if how == "interpreted" and loops.NUMBA:
            from weakpoints.engine.changes import compiled

            for name, function in list(vars(compiled).items()):
                if hasattr(function, "py_func"):
                    patch.setattr(compiled, name, function.py_func)
        yield


@pytest.mark.parametrize("how", ["compiled", "interpreted", "twin"])
@pytest.mark.parametrize("padding", [0, 1])
@settings(max_examples=15, deadline=None)
@given(where=windows())
def test_a_convolution_of_changes_by_blocks_is_that_of_whole_maps(
    how: str, padding: int, where: Windows
) -> None:
    weight = random(70, 33, 3, 3, seed=1)
    layer = Conv(weight, None, 1, padding, relu=False)
    if min(where.y.length, where.x.length) + 2 * padding < 3:
        return
    step = ConvStep(conv_weights(layer), where, through(layer, where))
    assert step.weights.uses_winograd
    table, out = changes(where, 33, 2), torch.empty(step.after.count, 70, dtype=torch.float64)
    with looped(how):
        step(table, out, Scratch(table))
    expected = F.conv2d(whole(table, where), weight, padding=padding)
    torch.testing.assert_close(out, rows(expected, step.after), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("how", ["compiled", "interpreted", "twin"])
@pytest.mark.parametrize("layer", [MaxPool(2, 2, 0), MaxPool(3, 2, 1), MaxPool(3, 1, 1)])
@settings(max_examples=15, deadline=None)
@given(where=windows())
def test_the_change_of_a_maximum_is_the_maximum_s_change(
    how: str, layer: MaxPool, where: Windows
) -> None:
    if min(where.y.length, where.x.length) + 2 * layer.padding < layer.kernel:
        return
    table, clean = changes(where, 3, 2), random(1, 3, where.y.length, where.x.length, seed=3)
    step = PoolStep(layer, where, through(layer, where))
    out = torch.empty(step.after.count, 3, dtype=torch.float64)
    before, after = (
        maps[0].permute(1, 2, 0).flatten(0, 1).contiguous() for maps in (clean, layer(clean))
    )
    with looped(how):
        loops.pool(step, table, before, after, out)
    expected = layer(clean + whole(table, where)) - layer(clean)
    torch.testing.assert_close(out, rows(expected, step.after), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("how", ["compiled", "interpreted", "twin"])
@pytest.mark.parametrize("ceiling", [torch.inf, 0.5])
@settings(max_examples=15, deadline=None)
@given(where=windows())
def test_the_change_behind_an_activation_is_the_activation_s_change(
    how: str, ceiling: float, where: Windows
) -> None:
    table, maps = changes(where, 3, 2), random(1, 3, where.y.length, where.x.length, seed=3)
    before = maps[0].permute(1, 2, 0).flatten(0, 1).contiguous()
    out = table[1:].clone()
    with looped(how):
        loops.activate(out, where, before.clamp(0, ceiling), before, ceiling)
    expected = (maps + whole(table, where)).clamp(0, ceiling) - maps.clamp(0, ceiling)
    torch.testing.assert_close(out, rows(expected, where), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("how", ["compiled", "interpreted", "twin"])
def test_what_is_not_a_number_stays_so_through_pool_and_activation(how: str) -> None:
    """An overflow must reach the logits, which are then refused, and never a map."""
    where = Windows(Spans(np.array([0]), np.array([3]), 4), Spans(np.array([0]), np.array([3]), 4))
    layer, clean = MaxPool(2, 2, 0), torch.zeros(16, 1, dtype=torch.float64)
    table = torch.zeros(17, 1, dtype=torch.float64)
    table[6] = torch.nan  # the fifth pixel of the window; row 0 is for what lies outside
    step = PoolStep(layer, where, through(layer, where))
    pooled = torch.empty(step.after.count, 1, dtype=torch.float64)
    activated = table[1:].clone()
    with looped(how):
        loops.pool(step, table, clean, clean[:4], pooled)
        loops.activate(activated, where, clean, clean, torch.inf)
    assert pooled.isnan().sum() == 1
    assert activated.isnan().sum() == 1
