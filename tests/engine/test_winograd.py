import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from weakpoints.engine.changes import winograd


@given(st.integers(1, winograd.LARGEST), st.integers(0, 2**32 - 1))
def test_products_at_the_points_are_a_convolution(inputs: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    d, g = rng.normal(size=inputs), rng.normal(size=3)
    points = inputs + 2
    at = winograd.evaluation(inputs, points) @ d * (winograd.evaluation(3, points) @ g)
    np.testing.assert_allclose(winograd.interpolation(inputs) @ at, np.convolve(d, g), atol=1e-11)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_kernels_are_flipped_and_transformed_in_float64(dtype: torch.dtype) -> None:
    weight = torch.randn(5, 4, 3, 3, generator=torch.Generator().manual_seed(0), dtype=dtype)
    at = winograd.evaluation(3, 7)
    flipped = weight.double().numpy()[:, :, ::-1, ::-1]
    expected = np.einsum("iy,jx,kcyx->ijck", at, at, flipped)
    found = winograd.transformed(weight)
    assert (found.dtype, found.shape) == (dtype, (7, 7, 4, 5))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6, atol=1e-7)


@given(st.integers(1, 60))
def test_blocks_cover_a_span_with_as_few_products_as_can_be(width: int) -> None:
    sizes = winograd.sizes(width)
    assert sum(sizes) == width
    assert max(sizes) <= winograd.LARGEST
    assert max(sizes) - min(sizes) <= 1
    assert len(sizes) == -(-width // winograd.LARGEST)
