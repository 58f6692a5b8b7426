import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torchvision.models import MobileNetV2, get_model, resnet, vgg

from tests.conftest import MODULES, loud, toy_vgg
from tests.tables import network_of
from tests.toys import seeded
from weakpoints.engine import chunks
from weakpoints.engine.changes.form import ChangesForm, ResidualKernels
from weakpoints.engine.changes.steps import ConvWeights
from weakpoints.engine.engine import Incremental
from weakpoints.engine.scratch import Scratch
from weakpoints.engine.tiles.cuda_graphs import Recorder
from weakpoints.engine.tiles.form import TilesForm
from weakpoints.networks.modules.efficientnet_lite import EfficientNetLite, Stage
from weakpoints.networks.modules.small_vgg import small_vgg
from weakpoints.networks.network import MaxPool, Network, Trace

WIDTHS = st.sampled_from([2, 5, 32, 33])
EAGER = Recorder(lambda run: run)  # asks for the form that a GPU runs


def masked(x: Tensor, corners: tuple[tuple[int, int], ...], box: int, colours: Tensor) -> Tensor:
    """(P, 3, S, S): the pictures themselves, which the oracle runs through the whole network."""
    pictures = x.repeat(len(corners), 1, 1, 1)
    for picture, (top, left), colour in zip(pictures, corners, colours, strict=True):
        picture[:, top : top + box, left : left + box] = colour[:, None, None]
    return pictures


def drawn(places: int, like: Tensor) -> Tensor:
    return torch.randn(places, 3, generator=torch.Generator().manual_seed(1), dtype=like.dtype)


def bare(name: str) -> nn.Module:
    """Shapes alone: a hundred million weights take seconds to draw."""
    with torch.device("meta"):
        return get_model(name, weights=None)


@st.composite
def modules(draw: st.DrawFn) -> nn.Module:
    if draw(st.booleans()):
        block = draw(st.sampled_from([resnet.BasicBlock, resnet.Bottleneck]))
        width = (
            {}
            if block is resnet.BasicBlock
            else {"width_per_group": draw(st.sampled_from([4, 32]))}
        )
        return seeded(
            resnet.ResNet(
                block,
                [1, draw(st.integers(1, 2)), 1, 1],
                num_classes=3,
                **width,
            )
        )
    layers: list[int | str] = []
    for _ in range(draw(st.integers(1, 3))):
        layers += [*draw(st.lists(WIDTHS, min_size=1, max_size=3)), "M"]
    last = next(c for c in reversed(layers) if c != "M")
    head = nn.Sequential(nn.Linear(4 * last, 4))
    return seeded(small_vgg(layers, 2, head, batch_norm=draw(st.booleans())))


@st.composite
def mobile_modules(draw: st.DrawFn, side: int) -> nn.Module:
    """Depthwise convolutions, ReLU6, sums without an activation, and zeros on one side."""
    stage = st.builds(
        Stage,
        repeats=st.integers(1, 2),
        kernel=st.sampled_from([3, 5]),
        stride=st.integers(1, 2),
        expansion=st.integers(1, 3),
        channels=st.integers(2, 5),
    )
    stages = draw(st.lists(stage, min_size=1, max_size=3))
    if draw(st.booleans()):
        return loud(seeded(EfficientNetLite(side, 3, stages, stem=4, head=8)))
    inverted = [[each.expansion, each.channels, each.repeats, each.stride] for each in stages]
    return loud(seeded(MobileNetV2(3, 0.25, inverted, round_nearest=2)))


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(33, 45), st.data())
def test_any_boxes_on_any_network_equal_masking_and_running_the_whole_network(
    side: int, data: st.DataObject
) -> None:
    module = data.draw(st.one_of(modules(), mobile_modules(side)))
    box = data.draw(st.integers(1, side))
    corner = st.integers(0, side - box)
    corners = (
        (0, 0),
        (side - box, side - box),
        *data.draw(st.lists(st.tuples(corner, corner), max_size=4)),
    )
    x = torch.randn(
        1, 3, side, side, dtype=torch.float64, generator=torch.Generator().manual_seed(7)
    )
    network, colours = network_of(module), drawn(len(corners), x)
    expected = module(masked(x, corners, box, colours))
    for engine in (Incremental(network), Incremental(network, recorder=Recorder(lambda run: run))):
        found = engine.logits(network.trace(x), corners, box, colours)
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def test_every_position_at_stride_one_is_exact_and_the_trace_bit_identical_afterwards(
    module: nn.Module, x: Tensor
) -> None:
    network, box = network_of(module), 5
    corners = tuple((top, left) for top in range(28) for left in range(28))
    trace, colours = network.trace(x), drawn(28 * 28, x)
    before = [trace.x.clone(), *(each.clone() for each in trace.activations)]
    found = Incremental(network).logits(trace, corners, box, colours)
    torch.testing.assert_close(
        found, module(masked(x, corners, box, colours)), rtol=1e-10, atol=1e-10
    )
    assert all(
        torch.equal(a, b) for a, b in zip(before, [trace.x, *trace.activations], strict=True)
    )


@pytest.mark.parametrize("name", ["D", "E"])
def test_logits_of_all_of_a_vgg_s_layers_in_float32_are_within_5e_5_of_the_largest(
    name: str,
) -> None:
    """VGG-16's and VGG-19's, without their classifier, which is a plain pass over whole maps."""
    head = nn.Sequential(nn.Linear(512, 10))
    model = small_vgg(vgg.cfgs[name], 1, head, batch_norm=False)
    network = network_of(seeded(model).float().to(memory_format=torch.channels_last))
    x = torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    corners, box = ((0, 0), (80, 80), (44, 36)), 16
    colours = drawn(len(corners), x)
    expected = network.logits(masked(x, corners, box, colours))
    found = Incremental(network).logits(network.trace(x), corners, box, colours)
    assert float((found - expected).abs().max() / expected.abs().max()) < 5e-5


def test_convolutions_by_blocks_and_direct_ones_and_residual_blocks_are_walked() -> None:
    plain = Incremental(network_of(bare("vgg11"))).form
    assert isinstance(plain, ChangesForm)
    linear = [each for each in plain.layers if isinstance(each, ConvWeights)]
    assert [each.uses_winograd for each in linear] == [False, *[True] * 7]
    blocks = Incremental(network_of(bare("resnet18"))).form
    assert isinstance(blocks, ChangesForm)
    assert sum(isinstance(each, ResidualKernels) for each in blocks.layers) == 8


def test_half_precision_and_what_is_recorded_hold_values() -> None:
    network = network_of(bare("vgg11"))
    half = network_of(bare("vgg11").bfloat16())
    for engine in (Incremental(half), Incremental(network, recorder=EAGER)):
        assert isinstance(engine.form, TilesForm)


def test_a_padded_pool_that_may_see_negative_numbers_is_left_to_the_plain_pass(x: Tensor) -> None:
    conv = network_of(toy_vgg()).layers[0]
    layers = (type(conv)(conv.weight, conv.bias, 1, 1, relu=False), MaxPool(3, 2, 1))
    network = Network(layers)
    engine = Incremental(network)
    assert isinstance(engine.form, ChangesForm)
    assert len(engine.form.layers) == 1
    corners, colours = ((0, 0), (27, 27)), drawn(2, x)
    expected = network.logits(masked(x, corners, 5, colours))
    torch.testing.assert_close(
        engine.logits(network.trace(x), corners, 5, colours), expected, rtol=1e-10, atol=1e-10
    )


@pytest.mark.parametrize("name", ["vgg", "vgg_bn", "narrow", "resnet"])
@pytest.mark.parametrize("halvings", range(4))
def test_a_budget_is_kept_by_what_is_really_held_and_changes_nothing(
    name: str, halvings: int, x: Tensor
) -> None:
    """Of the forms with a scratch; `windows/` has a test of its own."""
    network, box = network_of(MODULES[name]()), 9
    corners = tuple((top, left) for top in range(0, 24, 5) for left in range(0, 24, 5))
    trace, colours = network.trace(x), drawn(len(corners), x)
    engine = Incremental(network)
    expected = engine.logits(trace, corners, box, colours)
    own = sum(each.own_bytes for each in engine.form.clean(trace, engine.dtype))
    held: list[int] = []

    class Watched(Scratch):
        """Counts what is used; what is reserved beyond it has no pages."""

        def __init__(self, like: Tensor, *, triton: bool = True) -> None:
            super().__init__(like, triton=triton)
            self.used: dict[str, int] = {}

        def take(self, name: str, *shape: int) -> Tensor:
            found = super().take(name, *shape)
            self.used[name] = max(found.nbytes, self.used.get(name, 0))
            held.append(sum(self.used.values()))
            return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "Scratch", Watched)
        Incremental(network).logits(trace, corners, box, colours)
        budget = (own + max(held)) // 2**halvings
        held.clear()
        try:
            found = Incremental(network, budget).logits(trace, corners, box, colours)
        except torch.OutOfMemoryError:
            return  # not even one picture fits
    assert own + max(held) <= budget
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def test_a_chunk_that_fills_the_device_is_halved_and_nothing_is_lost(
    network: Network, x: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a GPU says it is full, in the middle of a chunk."""
    corners = tuple((top, left) for top in range(0, 28, 3) for left in range(0, 28, 3))
    trace, colours = network.trace(x), drawn(100, x)
    expected = Incremental(network).logits(trace, corners, 5, colours)
    take, refused = Scratch.take, []

    def full(self: Scratch, name: str, *shape: int) -> Tensor:
        if np.prod(shape) > 20_000:
            refused.append(shape)
            raise torch.OutOfMemoryError("full")
        return take(self, name, *shape)

    monkeypatch.setattr(Scratch, "take", full)
    torch.testing.assert_close(
        Incremental(network).logits(trace, corners, 5, colours), expected, rtol=1e-10, atol=1e-10
    )
    assert refused


def test_the_same_boxes_give_the_same_bits_whatever_was_asked_before(
    network: Network, x: Tensor
) -> None:
    trace, budget = network.trace(x), 700_000
    few, many = (
        tuple((top, left) for top in range(0, 28, step) for left in range(0, 28, step))
        for step in (7, 2)
    )
    fresh, used = Incremental(network, budget), Incremental(network, budget)
    used.logits(trace, many, 5, drawn(len(many), x))
    assert torch.equal(
        *(engine.logits(trace, few, 5, drawn(len(few), x)) for engine in (fresh, used))
    )


def test_a_budget_that_no_single_box_fits_into_says_how_much_it_needs(
    network: Network, x: Tensor
) -> None:
    with pytest.raises(torch.OutOfMemoryError, match=r"\d+ bytes are needed and \d+ allowed"):
        Incremental(network, 20_000).logits(network.trace(x), ((0, 0), (3, 3)), 5, drawn(2, x))


def test_what_fails_in_one_thread_ends_the_others_instead_of_holding_them(
    network: Network, x: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that fails gives back the scratch that the next chunk waits for."""
    corners = tuple((top, left) for top in range(0, 28, 3) for left in range(0, 28, 3))

    def lost(*_: object) -> None:
        raise RuntimeError("the device is gone")

    engine = Incremental(network, 700_000)
    monkeypatch.setattr(type(engine.form), "fill", lost)
    with pytest.raises(RuntimeError, match="the device is gone"):
        engine.logits(network.trace(x), corners, 5, drawn(len(corners), x))


def test_the_order_of_corners_is_the_order_of_logits(module: nn.Module, x: Tensor) -> None:
    network = network_of(module)
    trace: Trace = network.trace(x)
    corners, colours = ((0, 0), (9, 3), (27, 27)), drawn(3, x)
    engine = Incremental(network)
    turned = engine.logits(trace, corners[::-1], 5, colours.flip(0)).flip(0)
    torch.testing.assert_close(
        engine.logits(trace, corners, 5, colours), turned, rtol=1e-10, atol=1e-10
    )


def test_half_precision_stays_as_near_as_a_whole_pass_in_half_precision() -> None:
    """The form that a GPU runs: direct convolutions over tiles."""
    torch.manual_seed(0)
    module = get_model("vgg11", weights=None, num_classes=10)
    x = torch.randn(1, 3, 64, 64)
    corners, colours = ((0, 0), (24, 32), (48, 48)), drawn(3, x)
    exact = network_of(module).logits(masked(x, corners, 16, colours))
    network = network_of(module.bfloat16())
    whole = network.logits(masked(x, corners, 16, colours).bfloat16()).float()
    ours = Incremental(network).logits(network.trace(x), corners, 16, colours.bfloat16()).float()
    assert float((ours - exact).abs().max()) <= 2 * float((whole - exact).abs().max())
