import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from app.incremental import winograd


@given(st.integers(0, 2**32 - 1))
def test_products_at_the_points_are_a_convolution(seed: int) -> None:
    rng = np.random.default_rng(seed)
    d, g = rng.normal(size=(6, 6)), rng.normal(size=(3, 3))
    expected = [[(d[y : y + 3, x : x + 3] * g).sum() for x in range(4)] for y in range(4)]
    a, kernel, b = winograd.transforms()
    np.testing.assert_allclose(
        (a @ ((kernel @ g.ravel()) * (b @ d.ravel()))).reshape(4, 4), expected, atol=1e-12
    )


def test_kernels_are_transformed_in_float64_and_kept_in_their_own_precision() -> None:
    weight = torch.randn(5, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    found = winograd.transformed(weight)
    _, g, _ = winograd.transforms()
    expected = np.einsum("pq,kcq->pck", g, weight.double().numpy().reshape(5, 4, 9))
    assert found.dtype == torch.float32
    assert found.shape == (36, 4, 5)
    np.testing.assert_array_equal(found.numpy(), expected.astype(np.float32))
