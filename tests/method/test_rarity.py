import numpy as np
import pytest
import torch

from tests.tables import network_of
from weakpoints.method.rarity import BANDWIDTH, descriptor_layer, log_rarity, self_information
from weakpoints.networks.modules.efficientnet_lite import EfficientNetLite
from weakpoints.networks.modules.small_vgg import narrow_vgg16
from weakpoints.networks.network import Network, Residual, Trace

EVERYWHERE = np.ones((64, 64), bool)


def by_loops(cells: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Of (C, n, n), each pair of cells on its own."""
    n = cells.shape[1]
    distances = np.array(
        [
            [
                1 - one @ other / np.linalg.norm(one) / np.linalg.norm(other)
                for other, its in zip(cells.reshape(len(cells), -1).T, counted.ravel(), strict=True)
                if its
            ]
            for one in cells.reshape(len(cells), -1).T
        ]
    )
    bandwidth = BANDWIDTH * distances[counted.ravel()].mean()
    return -np.log(np.exp(-distances / bandwidth).mean(1)).reshape(n, n)


def test_it_is_the_self_information_of_a_kernel_density(rng: np.random.Generator) -> None:
    cells, counted = rng.random((5, 6, 6)), np.ones((6, 6), bool)
    counted[:, :2] = False
    found = self_information(torch.from_numpy(cells), counted).numpy()
    np.testing.assert_allclose(found, by_loops(cells, counted), rtol=1e-12)


def of_cells(cells: np.ndarray, inside: np.ndarray = EVERYWHERE) -> np.ndarray:
    """The rarity of a network whose blocks have these cells, and a last map a quarter as fine."""
    table = network_of(narrow_vgg16((4, 4, 4, 4, 4), 3, batch_norm=False))
    side = cells.shape[-1]
    maps = (torch.from_numpy(cells)[None], torch.zeros(1, 4, side // 4, side // 4))
    x = torch.zeros(1, 3, *inside.shape)
    return log_rarity(Network(table.layers[:2]), Trace(x, maps), inside)


def test_what_looks_like_nothing_else_is_rarest(rng: np.random.Generator) -> None:
    cells = 1 + rng.random((4, 16, 16)) / 10
    cells[:, 5, 9] = 0, 0, 0, 1
    rare = of_cells(cells)
    y, x = np.unravel_index(rare.argmax(), rare.shape)
    assert (y, x) == pytest.approx((5.5 * 4 - 0.5, 9.5 * 4 - 0.5), abs=1)
    assert rare.max() == 0


def test_what_looks_alike_everywhere_is_equally_rare() -> None:
    np.testing.assert_allclose(of_cells(np.full((4, 16, 16), 2.0)), 0, atol=1e-6)
    np.testing.assert_allclose(of_cells(np.zeros((4, 16, 16))), 0, atol=1e-6)


def test_a_letterbox_s_margin_is_nobody_s_neighbour(rng: np.random.Generator) -> None:
    cells, inside = rng.random((4, 16, 16)), EVERYWHERE.copy()
    inside[:32] = False
    rare = of_cells(cells, inside)
    cells[:, :7] = 100 * rng.random((4, 7, 16))  # the eighth row is blended with the ninth
    np.testing.assert_allclose(of_cells(cells, inside)[40:], rare[40:])
    assert not rare[:32].any()
    assert rare[32:].max() == 0


def test_finer_maps_are_averaged(rng: np.random.Generator) -> None:
    coarse = rng.random((4, 28, 28))
    fine = coarse.repeat(2, 1).repeat(2, 2)
    np.testing.assert_allclose(of_cells(fine), of_cells(coarse), atol=1e-6)


def test_a_network_without_maps_calls_nothing_rare() -> None:
    table = network_of(narrow_vgg16((4, 4, 4, 4, 4), 3, batch_norm=False))
    trace = Trace(torch.zeros(1, 3, 64, 64), (torch.zeros(1, 4, 16, 16),))
    assert descriptor_layer(Network(table.layers[:1]), trace) is None
    assert not log_rarity(Network(table.layers[:1]), trace, EVERYWHERE).any()


def test_the_layer_is_the_last_one_with_cells_a_quarter_as_wide_or_the_last_block_s() -> None:
    with torch.inference_mode():
        vgg = network_of(narrow_vgg16((4, 4, 4, 4, 4), 3, batch_norm=False))
        trace = vgg.trace(torch.zeros(1, 3, 64, 64))
        layer = descriptor_layer(vgg, trace)
        assert layer is not None
        convolutions = [i for i, a in enumerate(trace.activations) if a.shape[-1] == 16]
        third_block = [i for i in convolutions if trace.activations[i + 1].shape[-1] == 8]
        assert layer == third_block[0]  # and not the pooling before, nor the block's first
        lite = network_of(EfficientNetLite(64, 3))
        trace = lite.trace(torch.zeros(1, 3, 64, 64))
        layer = descriptor_layer(lite, trace)
    assert layer is not None
    blocks = [i for i, each in enumerate(lite.layers) if isinstance(each, Residual)]
    assert layer == max(i for i in blocks if trace.activations[i].shape[-1] == 8)
