"""Windows of values on any graph, against masking the picture and running the whole network."""

import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from itertools import pairwise

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from tests.conftest import toy_efficientnet_lite, toy_mobilenet
from tests.tables import network_of
from tests.toys import seeded
from weakpoints.engine.engine import Incremental
from weakpoints.engine.windows import form as form_module
from weakpoints.engine.windows.cuts import Map
from weakpoints.engine.windows.form import CHUNK, WindowsForm, pieces
from weakpoints.engine.windows.program import Program
from weakpoints.engine.windows.run import clean_maps
from weakpoints.networks.graph.chain import network_of_graph
from weakpoints.networks.graph.export import graph_of
from weakpoints.networks.graph.flatten import graph_of_layers
from weakpoints.networks.graph.graph import Graph, Operation
from weakpoints.networks.network import Trace
from weakpoints.progress import no_progress

SIDE = 24
SMALL = 2**26


def weights(*shape: int) -> Tensor:
    fan = max(1, torch.Size(shape[1:]).numel())
    return (
        torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape))).double() / fan**0.5
    )


class Builder:
    """A graph, one random operation after the other; `values`: channels and side of each."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self.tensors: dict[str, Tensor] = {}
        self.values = {"x": (3, SIDE)}

    def add(self, kind: str, shape: tuple[int, int], *arguments: object) -> str:
        name = f"v{len(self.operations)}"
        self.operations.append(Operation(name, kind, arguments, {}))
        self.values[name] = shape
        return name

    def tensor(self, *shape: int) -> dict[str, str]:
        name = f"t{len(self.tensors)}"
        self.tensors[name] = weights(*shape)
        return {"parameter": name}


@st.composite
def graphs(draw: st.DrawFn) -> tuple[Graph, dict[str, Tensor]]:
    """Convolutions with strides, holes, groups and rims of every kind, pools, sums, concatenations,
    gates, activations: whatever two values of one size allow.
    """
    build = Builder()
    for _ in range(draw(st.integers(2, 7))):
        name = draw(st.sampled_from(sorted(build.values)[-3:]))
        channels, side = build.values[name]
        kinds = ["conv", "pool", "activation", "join", "pad", "shuffle", "norm"]
        match draw(st.sampled_from(kinds)):
            case "conv":
                kernel, dilation = draw(st.integers(1, 3)), draw(st.integers(1, 2))
                reach, padding = (kernel - 1) * dilation + 1, draw(st.integers(0, 2))
                stride, groups = draw(st.integers(1, 2)), draw(st.sampled_from([1, channels]))
                if side + 2 * padding < reach:
                    continue
                outputs = channels if groups > 1 else draw(st.integers(1, 4))
                weight = build.tensor(outputs, channels // groups, kernel, kernel)
                bias = draw(st.sampled_from([None, build.tensor(outputs)]))
                sizes = [[stride] * 2, [padding] * 2, [dilation] * 2]
                after = (side + 2 * padding - reach) // stride + 1
                build.add(
                    "conv2d.default",
                    (outputs, after),
                    {"value": name},
                    weight,
                    bias,
                    *sizes,
                    groups,
                )
            case "pool":
                kind = draw(st.sampled_from(["max_pool2d.default", "avg_pool2d.default"]))
                kernel, stride = draw(st.integers(2, 3)), draw(st.integers(1, 2))
                padding, ceil = draw(st.integers(0, 1)), draw(st.booleans())
                if side + 2 * padding < kernel:
                    continue
                one = ([1], ceil) if kind.startswith("max") else (ceil,)
                arguments = [[kernel] * 2, [stride] * 2, [padding] * 2, *one]
                pool = nn.MaxPool2d if kind.startswith("max") else nn.AvgPool2d
                module = pool(kernel, stride, padding, ceil_mode=ceil)
                after = module(torch.zeros(1, 1, side, side)).shape[-1]
                build.add(kind, (channels, after), {"value": name}, *arguments)
            case "activation":
                kind = draw(st.sampled_from(["relu", "silu", "hardswish", "sigmoid", "gelu"]))
                build.add(f"{kind}.default", (channels, side), {"value": name})
            case "norm":
                scale = build.tensor(1, channels, 1, 1)
                build.add("mul.Tensor", (channels, side), {"value": name}, scale)
            case "pad":
                rim = draw(st.lists(st.integers(0, 2), min_size=4, max_size=4))
                if rim[0] + rim[1] != rim[2] + rim[3]:
                    continue
                shape = (channels, side + rim[0] + rim[1])
                value = draw(st.sampled_from([0.0, 1.0]))
                build.add("constant_pad_nd.default", shape, {"value": name}, rim, value)
            case "shuffle":
                if channels % 2:
                    continue
                shape = (channels, side)
                view = [{"batch": True}, 2, channels // 2, side, side]
                name = build.add("view.default", shape, {"value": name}, view)
                name = build.add("transpose.int", shape, {"value": name}, 1, 2)
                build.add(
                    "reshape.default", shape, {"value": name}, [{"batch": True}, -1, side, side]
                )
                del build.values[name], build.values[f"v{len(build.operations) - 3}"]
            case "join":
                same = [other for other, (_, size) in build.values.items() if size == side]
                other = draw(st.sampled_from(sorted(same)))
                if build.values[other] == (channels, side) and draw(st.booleans()):
                    kind = draw(st.sampled_from(["add.Tensor", "mul.Tensor"]))
                    build.add(kind, (channels, side), {"value": name}, {"value": other})
                else:
                    parts = [{"value": name}, {"value": other}]
                    build.add("cat.default", (channels + build.values[other][0], side), parts, 1)
    last = list(build.values)[-1]
    mean = build.add("mean.dim", (0, 0), {"value": last}, [2, 3])
    head = build.tensor(4, build.values[last][0])
    output = build.add("linear.default", (0, 0), {"value": mean}, head)
    return Graph("x", tuple(build.operations), output), build.tensors


def whole(graph: Graph, tensors: dict[str, Tensor], x: Tensor) -> Tensor:
    values = {"x": x}
    for operation in graph.operations:
        values[operation.name] = operation(values, tensors, len(x))
    return values[graph.output]


def masked(x: Tensor, corners: list[tuple[int, int]], box: int, colours: Tensor) -> Tensor:
    pictures = x.repeat(len(corners), 1, 1, 1)
    for picture, (top, left), colour in zip(pictures, corners, colours, strict=True):
        picture[:, top : top + box, left : left + box] = colour[:, None, None]
    return pictures


@pytest.fixture
def picture() -> Tensor:
    return torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(3)).double()


def random_colours(*shape: int) -> Tensor:
    return torch.randn(*shape, 3, generator=torch.Generator().manual_seed(4)).double()


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(graphs(), st.integers(1, 9), st.data())
def test_any_graph_with_any_boxes_answers_as_masking_does(
    made: tuple[Graph, dict[str, Tensor]], box: int, data: st.DataObject
) -> None:
    graph, tensors = made
    x = torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(3)).double()
    corner = st.integers(0, SIDE - box)
    drawn = data.draw(st.lists(st.tuples(corner, corner), max_size=5))
    corners = [(0, 0), (SIDE - box, SIDE - box), *drawn]
    colours = random_colours(1, len(corners))
    network = network_of_graph(graph, tensors, SIDE)
    form = WindowsForm(network, SMALL)
    found = form.logits(Trace(x, ()), tuple(corners), box, colours, no_progress)[0]
    expected = whole(graph, tensors, masked(x, corners, box, colours[0]))
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("toy", [toy_efficientnet_lite, toy_mobilenet])
@pytest.mark.parametrize("windows", [True, False])
def test_every_box_and_colour_with_windows_and_without(
    toy: Callable[[], nn.Module], windows: bool, x: Tensor
) -> None:
    module = toy()
    corners = [(top, left) for top in range(0, 28, 3) for left in range(0, 28, 3)]
    colours = random_colours(2, len(corners))
    network = network_of(module)
    engine = Incremental(network, form=WindowsForm(network, SMALL, windows=windows))
    found = engine.logits(engine.network.trace(x), tuple(corners), 5, colours)
    for one, palette in zip(found, colours, strict=True):
        expected = module(masked(x, corners, 5, palette))
        torch.testing.assert_close(one, expected, rtol=1e-10, atol=1e-10)
    assert engine.form.name == ("windows" if windows else "whole")


def test_a_table_of_layers_is_the_same_function_as_its_graph(module: nn.Module, x: Tensor) -> None:
    graph, tensors = graph_of_layers(network_of(module).layers)
    values = {graph.picture: x}
    for operation in graph.operations:
        values[operation.name] = operation(values, tensors, len(x))
    torch.testing.assert_close(values[graph.output], module(x), rtol=1e-10, atol=1e-10)


def test_windows_save_products_until_they_cover_the_map(picture: Tensor) -> None:
    module = seeded(nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)))
    head = nn.Sequential(module, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2).double())
    network = network_of_graph(*graph_of(head, SIDE), SIDE)
    form = WindowsForm(network, SMALL)
    products = form.products(SIDE, 4, ((8, 8),))
    # 4 pixels of the picture become 6, then 8 of the maps; the last layer is whole
    assert products.windows == products.computed == 36 * 4 * 27 + 64 * 4 * 36 + 8
    assert products.full == 24**2 * 4 * (27 + 36) + 8
    large = form.products(SIDE, 23, ((0, 0),))
    assert large.computed == large.full


class Held(TorchDispatchMode):
    """The bytes that the tensors of all operations hold, at most."""

    def __init__(self) -> None:
        super().__init__()
        self.most = 0
        self._holders = Counter[tuple[int, int]]()

    def __torch_dispatch__(self, function, types, arguments=(), options=None):  # type: ignore[no-untyped-def]
        out = function(*arguments, **(options or {}))
        for tensor in out if isinstance(out, list | tuple) else [out]:
            if isinstance(tensor, Tensor):
                place = tensor.untyped_storage().data_ptr(), tensor.untyped_storage().nbytes()
                self._holders[place] += 1
                weakref.finalize(tensor, self._gone, place)
        self.most = max(self.most, sum(size for _, size in self._holders))
        return out

    def _gone(self, place: tuple[int, int]) -> None:
        self._holders[place] -= 1
        if not self._holders[place]:
            del self._holders[place]


@pytest.mark.parametrize("toy", [toy_efficientnet_lite, toy_mobilenet])
@pytest.mark.parametrize("compiled", [True, False])
def test_a_budget_is_kept_by_what_is_really_held_and_changes_nothing(
    toy: Callable[[], nn.Module], compiled: bool, x: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(form_module, "pool", lambda workers, apart: nullcontext(map))
    network = network_of(toy())
    corners = tuple((top, left) for top in range(0, 24, 5) for left in range(0, 24, 5))
    trace, colours = network.trace(x), random_colours(1, len(corners))
    expected = WindowsForm(network, SMALL).logits(trace, corners, 9, colours, no_progress)
    held = []
    for budget in (2**i for i in range(23, 16, -1)):
        form = WindowsForm(network, budget)
        form.threads = 1
        if compiled:
            form.compile()
        try:
            form._division(32, 9, corners)  # program and plans are kept for the next picture, and
            form._loops(32)  # the loops' weights are the network's: not in the budget
            with Held() as holding:
                found = form.logits(trace, corners, 9, colours, no_progress)
        except torch.OutOfMemoryError:
            continue  # not even one picture fits
        held.append(holding.most)
        assert holding.most <= budget
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    assert len(set(held)) > 1


def test_the_same_boxes_give_the_same_bits_on_any_number_of_threads(x: Tensor) -> None:
    network = network_of(toy_efficientnet_lite())
    corners = tuple((top, left) for top in range(0, 28, 7) for left in range(0, 28, 2))
    trace, colours = network.trace(x), random_colours(2, len(corners))
    found = []
    for threads in (1, 2, 3):
        form = WindowsForm(network, SMALL)
        form.threads = threads
        found.append(form.logits(trace, corners, 5, colours, no_progress))
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


@pytest.mark.parametrize("threads", [1, 2])
def test_a_map_that_cannot_be_made_ends_the_call_and_no_chunk_waits_for_it(
    threads: int, x: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(program: Program, x: Tensor, wanted: Iterable[Map]) -> Iterator[tuple[Map, Tensor]]:
        yield from list(clean_maps(program, x, wanted))[:2]
        raise ArithmeticError("no more")

    monkeypatch.setattr(form_module, "clean_maps", failing)
    form = WindowsForm(network_of(toy_efficientnet_lite()), SMALL)
    form.threads = threads
    corners = tuple((top, left) for top in range(0, 28, 7) for left in range(0, 28, 2))
    with pytest.raises(ArithmeticError, match="no more"):
        form.logits(Trace(x, ()), corners, 5, random_colours(1, len(corners)), no_progress)


def test_progress_is_told_after_each_chunk_and_what_it_raises_stops_the_work(x: Tensor) -> None:
    engine = Incremental(network_of(toy_efficientnet_lite()))
    corners = tuple((top, left) for top in range(0, 28, 2) for left in range(0, 28, 2))
    told: list[tuple[int, int]] = []

    def stopping(stage: str, done: int, total: int) -> None:
        told.append((done, total))
        if done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.logits(engine.network.trace(x), corners, 5, random_colours(1, 196), stopping)
    assert told == [(14 * i, 196) for i in range(1, 9)]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1), st.integers(1, CHUNK))
def test_every_box_is_in_one_piece_and_none_is_too_large(
    corners: list[tuple[int, int]], most: int
) -> None:
    parts = list(pieces(tuple(corners), most))
    assert (parts[0][0], parts[-1][1]) == (0, len(corners))
    assert all(one[1] == other[0] for one, other in pairwise(parts))
    assert all(0 < stop - first <= most for first, stop in parts)


def test_rows_of_boxes_are_not_cut_where_they_fit() -> None:
    corners = tuple((top, left) for top in range(4) for left in range(13))
    assert list(pieces(corners, 16)) == [(0, 13), (13, 26), (26, 39), (39, 52)]


class ComputedBias(nn.Module):
    """As Swin's second version has it: a part of the bias is set to zero in each pass."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.linear = nn.Conv2d(3, 4, 3), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        bias = self.linear.bias.clone()
        bias[1:3].zero_()
        pooled = self.conv(x).relu().mean((2, 3))
        return nn.functional.linear(pooled, self.linear.weight, bias)


@pytest.mark.parametrize("windows", [True, False])
def test_a_bias_that_is_computed_is_read(windows: bool, picture: Tensor) -> None:
    torch.manual_seed(0)
    module = ComputedBias().double().eval().requires_grad_(False)
    network = network_of_graph(*graph_of(module, SIDE), SIDE)
    colours = random_colours(1, 1)
    form = WindowsForm(network, SMALL, windows=windows)
    logits = form.logits(Trace(picture, ()), ((2, 3),), 5, colours, no_progress)[0]
    expected = module(masked(picture, [(2, 3)], 5, colours[0]))
    torch.testing.assert_close(logits, expected, rtol=1e-10, atol=1e-10)


class Tokens(nn.Module):
    """Adds to a tensor of its own that is expanded: a class token, as timm's CaiT has it."""

    def __init__(self) -> None:
        super().__init__()
        self.token, self.head = nn.Parameter(torch.randn(1, 3)), nn.Linear(3, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.token.expand(x.shape[0], -1) + x.mean((2, 3)))


@pytest.mark.parametrize("boxes", [1, 3])
def test_what_is_a_view_of_a_weight_is_never_written_to(boxes: int, picture: Tensor) -> None:
    torch.manual_seed(1)
    module = Tokens().double().requires_grad_(False)
    network = network_of_graph(*graph_of(module, SIDE), SIDE)
    form, corners, colours = (
        WindowsForm(network, SMALL),
        ((0, 0),) * boxes,
        random_colours(1, boxes),
    )
    expected = module(masked(picture, list(corners), 5, colours[0]))
    for _ in range(2):
        found = form.logits(Trace(picture, ()), corners, 5, colours, no_progress)[0]
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
