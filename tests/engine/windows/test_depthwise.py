"""The compiled loop and its interpreted twin, against cuts and PyTorch's convolution."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from tests.conftest import toy_efficientnet_lite, toy_mobilenet
from tests.engine.windows.test_form import SIDE, SMALL, graphs, masked, random_colours, whole
from tests.tables import network_of
from weakpoints.engine.windows import compiled, depthwise
from weakpoints.engine.windows import form as form_module
from weakpoints.engine.windows.calls import Bounds, bounds_of
from weakpoints.engine.windows.cuts import Area, Map, cut, kept_map
from weakpoints.engine.windows.depthwise import Depthwise, depthwise_of
from weakpoints.engine.windows.form import WindowsForm
from weakpoints.engine.windows.layouts import Layout
from weakpoints.engine.windows.neighbours import Convolution, geometry
from weakpoints.networks.graph.chain import network_of_graph
from weakpoints.networks.graph.export import graph_of
from weakpoints.networks.graph.graph import Graph, Operation
from weakpoints.networks.network import Trace
from weakpoints.progress import no_progress

Array = NDArray[np.float64]
LANES = compiled.BYTES // 8


def tile_twin(
    patch: Array,
    at: int,
    row: int,
    weights: Array,
    first: int,
    kernel: tuple[tuple[int, ...], ...],
    out: Array,
    to: int,
    step: int,
    low: float,
    high: float,
) -> None:
    rows, columns, stride = map(len, kernel)
    block = depthwise.BLOCK
    for t in range(compiled.TILE):
        bias = first + rows * columns * block
        value = weights[bias : bias + LANES].copy()
        for v in range(rows):
            for u in range(columns):
                tap, pixel = (
                    first + (v * columns + u) * block,
                    at + v * row + (t * stride + u) * block,
                )
                assert 0 <= pixel <= len(patch) - LANES
                value += weights[tap : tap + LANES] * patch[pixel : pixel + LANES]
        place = to + t * step
        assert 0 <= place <= len(out) - LANES
        out[place : place + LANES] = value.clip(low, high)


def move_twin(source: Array, first: int, to: Array, at: int, low: float, high: float) -> None:
    to[at : at + LANES] = source[first : first + LANES].clip(low, high)


@contextmanager
def looped(how: str) -> Iterator[None]:
    """`interpreted` are the compiled loops as plain Python, which coverage sees."""
    with pytest.MonkeyPatch.context() as patch:
        if how == "interpreted":
            for name, function in list(vars(compiled).items()):
                if hasattr(function, "py_func"):
                    patch.setattr(compiled, name, function.py_func)
            patch.setattr(compiled, "_tile", tile_twin)
            patch.setattr(compiled, "_move", move_twin)
            patch.setattr(compiled, "_lanes", lambda array: LANES)
        yield


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@st.composite
def cases(draw: st.DrawFn, any_kernel: bool) -> tuple[Depthwise, Tensor, Tensor, Area, Area]:
    """A loop, a clean map (1, C, H, W), changed windows of it, where they are, and the outputs.

    Windows may lie partly outside of what the outputs read.
    """
    channels = draw(st.sampled_from([1, 3, LANES, LANES + 3, 64, 70]))
    if any_kernel:
        kernel, stride = draw(st.tuples(*[st.integers(1, 5)] * 2)), draw(st.integers(1, 3))
    else:
        kernel, stride = (draw(st.sampled_from([3, 5])),) * 2, draw(st.integers(1, 2))
    before = draw(st.tuples(*[st.integers(0, 2)] * 2))
    outputs = draw(st.tuples(*[st.integers(1, 16)] * 2))
    behind = draw(st.integers(-1, 2))
    side = [max(1, (outputs[i] - 1) * stride + kernel[i] - before[i] - behind) for i in range(2)]
    shape = geometry(kernel, (stride, stride), before, (side[0], side[1]), outputs)
    bias = random(channels, seed=2) if draw(st.booleans()) else None
    weight = random(channels, 1, *kernel, seed=1)
    convolution = Convolution(shape, weight, bias, (1, 1), channels, None)
    bounds = st.sampled_from([Bounds(-inf, inf), Bounds(0.0, 1.0), Bounds(-0.5, inf)])
    clamps = draw(bounds), draw(bounds)
    loop = Depthwise(convolution, *clamps, (), depthwise._packed(convolution))
    clean = random(1, channels, *side, seed=3).clamp(*clamps[0])
    pictures = draw(st.integers(1, 3))

    def area(sizes: tuple[int, int]) -> Area:
        size = [draw(st.integers(1, limit)) for limit in sizes]
        y, x = (
            np.array([draw(st.integers(0, sizes[i] - size[i])) for _ in range(pictures)])
            for i in range(2)
        )
        return Area(y, x, size[0], size[1])

    changed = area((side[0], side[1]))
    windows = random(pictures, changed.height, changed.width, channels, seed=4)
    return loop, clean, windows.permute(0, 3, 1, 2), changed, area(outputs)


def check(how: str, case: tuple[Depthwise, Tensor, Tensor, Area, Area]) -> None:
    loop, clean, windows, changed, area = case
    convolution = loop.convolution
    layout = Layout(2, clean.shape[2], clean.shape[3])
    left, right, top, bottom = convolution.geometry.padding
    source = Map("map", (left, right, top, bottom))
    down, across = convolution.geometry.stride
    reads = Area(
        area.y * down,
        area.x * across,
        *convolution.geometry.reads((area.height, area.width)),
    )
    piece = cut(source, layout, changed, reads)
    kept = kept_map(source, clean, layout)
    with looped(how):
        out = loop(windows, piece, kept, (area.height, area.width))
    expected = convolution.on_windows(piece(kept, windows.clamp(*loop.inputs)))
    torch.testing.assert_close(out, expected.clamp(*loop.outputs), rtol=1e-12, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(cases(any_kernel=False))
def test_the_compiled_loop_is_the_convolution_of_what_is_cut(case: Any) -> None:
    check("compiled", case)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(cases(any_kernel=True))
def test_the_loop_as_plain_python_is_it_for_every_kernel(case: Any) -> None:
    check("interpreted", case)


@pytest.mark.parametrize("how", ["compiled", "interpreted"])
@pytest.mark.parametrize("channels", [3, LANES * 2])
def test_what_is_not_a_number_stays_so(how: str, channels: int) -> None:
    shape = geometry((3, 3), (1, 1), (1, 1), (9, 9), (9, 9))
    weight = torch.ones(channels, 1, 3, 3, dtype=torch.float64)
    convolution = Convolution(shape, weight, None, (1, 1), channels, None)
    loop = Depthwise(convolution, Bounds(0, 6), Bounds(0, 6), (), depthwise._packed(convolution))
    x = torch.zeros(1, channels, 9, 9, dtype=torch.float64)
    x[0, 1, 4, 4] = torch.nan
    with looped(how):
        out = loop(x, None, None, (9, 9))
    assert out.isnan().sum() == 9
    assert out[0, 1, 3:6, 3:6].isnan().all()


class Twin(SimpleNamespace):
    """Of the module of loops, in PyTorch."""

    BLOCK, TILE, BYTES = depthwise.BLOCK, compiled.TILE, compiled.BYTES

    def depthwise(  # type: ignore[no-untyped-def]
        self, table, sizes, channels, clean, origins, weights, kernel, down, bounds, patch, out
    ) -> None:
        (height, width), (high, wide), size = sizes
        across, kernel = len(kernel[2]), (len(kernel[0]), len(kernel[1]))
        taps = weights.reshape(-1, kernel[0] * kernel[1] + 1, self.BLOCK).swapaxes(1, 2)
        taps = torch.from_numpy(taps).reshape(-1, taps.shape[2])[:channels]
        weight = taps[:, :-1].reshape(channels, 1, *kernel)
        windows = table.reshape(-1, height, width, channels)
        for p, (first, top, left, across_map) in enumerate(origins):
            area = np.zeros((high, wide, channels))
            for y, x in np.ndindex(high, wide):
                inside = 0 <= y - top < height and 0 <= x - left < width
                if inside:
                    area[y, x] = windows[p, y - top, x - left].clip(*bounds[:2])
                elif len(clean):
                    area[y, x] = clean.reshape(-1, channels)[first + y * across_map + x]
            x = torch.from_numpy(area).permute(2, 0, 1)[None]
            value = F.conv2d(x, weight, taps[:, -1], (down, across), groups=channels)
            assert value.shape[2:] == size
            number = value.numel()
            rows = value.clamp(*bounds[2:])[0].permute(1, 2, 0).reshape(-1)
            out[p * number : (p + 1) * number] = rows.numpy()


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(graphs(), st.integers(1, 9), st.data())
def test_any_graph_with_loops_answers_as_masking_does(
    made: tuple[Graph, dict[str, Tensor]], box: int, data: st.DataObject
) -> None:
    graph, tensors = made
    x = torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(3)).double()
    corner = st.integers(0, SIDE - box)
    corners = ((0, 0), (SIDE - box, SIDE - box), data.draw(st.tuples(corner, corner)))
    colours = random_colours(1, 3)
    form = WindowsForm(network_of_graph(graph, tensors, SIDE), SMALL)
    form.compile()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(depthwise, "compiled", Twin)
        found = form.logits(Trace(x, ()), corners, box, colours, no_progress)[0]
    expected = whole(graph, tensors, masked(x, list(corners), box, colours[0]))
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("toy", [toy_efficientnet_lite, toy_mobilenet])
@pytest.mark.parametrize("windows", [True, False])
def test_networks_with_compiled_loops(
    toy: Any, windows: bool, x: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(form_module, "quicker_on_maps", lambda loops, steps: set(loops))
    module: nn.Module = toy()
    corners = [(top, left) for top in range(0, 28, 9) for left in range(0, 28, 9)]
    colours = random_colours(1, len(corners))
    network = network_of(module)
    form = WindowsForm(network, SMALL, windows=windows)
    form.compile()
    found = form.logits(network.trace(x), tuple(corners), 5, colours, no_progress)[0]
    expected = module(masked(x, corners, 5, colours[0]))
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    loops = depthwise_of(form._program(32))
    assert loops
    assert all(len(loop.clamps) == 2 for loop in list(loops.values())[1:])


def test_loops_are_used_once_it_is_said_and_numba_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    network = network_of(toy_efficientnet_lite())
    form = WindowsForm(network, SMALL)
    assert not form._loops(32)
    form.compile()
    assert form._loops(32)
    monkeypatch.setattr(form_module, "NUMBA", False)
    without = WindowsForm(network, SMALL)
    without.compile()
    assert not without._loops(32)


class BehindGate(nn.Module):
    """A depthwise convolution behind squeeze-and-excitation: of whole maps alone."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.squeeze = nn.Conv2d(3, 6, 3, 2, 1), nn.Conv2d(6, 6, 1)
        self.near, self.near_too = (nn.Conv2d(6, 6, 3, 1, 1, groups=6) for _ in range(2))
        self.project, self.head = nn.Conv2d(6, 4, 1), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.silu(self.stem(x))
        x = x * torch.sigmoid(self.squeeze(x.mean((2, 3), keepdim=True)))
        x = F.pad(F.relu(self.near_too(F.relu(self.near(x)))), (0, 1, 0, 1))
        return self.head(F.avg_pool2d(self.project(x), 2).mean((2, 3)))


@pytest.mark.parametrize("windows", [True, False])
@pytest.mark.parametrize("quicker", [True, False])
def test_behind_a_gate_loops_are_used_where_they_are_quicker(
    windows: bool, quicker: bool, x: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(1)
    module = BehindGate().double().eval().requires_grad_(False)
    network = network_of_graph(*graph_of(module, 32), 32)
    seconds = iter([2.0] * 3 + [1.0 if quicker else 3.0] * 3)  # of PyTorch's, of the loop
    monkeypatch.setattr(depthwise, "_seconds", lambda run: (run(), next(seconds))[1])
    form = WindowsForm(network, SMALL, windows=windows)
    form.compile()
    corners, colours = ((0, 0), (9, 20), (27, 27)), random_colours(1, 3)
    found = form.logits(network.trace(x), corners, 5, colours, no_progress)[0]
    expected = module(masked(x, list(corners), 5, colours[0]))
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    assert len(form._loops(32)) == (2 if quicker else 0)  # of one shape: they are tried once


def test_a_clamp_whose_input_another_reads_is_done_by_itself() -> None:
    """What it clamps would be seen by the other, or be overwritten before the loop reads it."""
    tensors = {"kernel": random(3, 1, 3, 3, seed=1), "head": random(4, 3, seed=2)}
    x, kernel = {"value": "x"}, {"parameter": "kernel"}

    def operations(shared: bool) -> tuple[Operation, ...]:
        after = [[1, 1], [1, 1], [1, 1], 3]
        first = Operation("first", "conv2d.default", (x, kernel, None, *after), {})
        clamp = Operation("clamp", "relu.default", ({"value": "first"},), {})
        other = Operation("other", "silu.default", ({"value": "first" if shared else "x"},), {})
        last = Operation("last", "conv2d.default", ({"value": "clamp"}, kernel, None, *after), {})
        total = Operation("total", "add.Tensor", ({"value": "last"}, {"value": "other"}), {})
        mean = Operation("mean", "mean.dim", ({"value": "total"}, [2, 3]), {})
        head = Operation("head", "linear.default", ({"value": "mean"}, {"parameter": "head"}), {})
        return first, clamp, other, last, total, mean, head

    for shared in (True, False):
        graph = Graph("x", operations(shared), "head")
        form = WindowsForm(network_of_graph(graph, tensors, SIDE), SMALL)
        loops = depthwise_of(form._program(SIDE))
        assert [len(loop.clamps) for loop in loops.values()] == ([0, 0] if shared else [1, 1])


@pytest.mark.parametrize(
    ("kind", "arguments", "expected"),
    [
        ("relu.default", (), Bounds(0, inf)),
        ("relu6.default", (), Bounds(0, 6)),
        ("hardtanh.default", (), Bounds(-1, 1)),
        ("hardtanh.default", (0.0, 6.0), Bounds(0, 6)),
        ("clamp.default", (None, 3), Bounds(-inf, 3)),
        ("clamp_min.default", (-2,), Bounds(-2, inf)),
        ("clamp.default", (1, 3), None),
        ("clamp.Tensor", ({"parameter": "low"},), None),
        ("silu.default", (), None),
    ],
)
def test_bounds_of_what_only_clamps(kind: str, arguments: Any, expected: Bounds | None) -> None:
    operation = Operation("clamp", kind, ({"value": "x"}, *arguments), {})
    assert bounds_of(operation) == expected
