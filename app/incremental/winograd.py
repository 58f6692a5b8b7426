"""Winograd's minimal filtering F(4x4, 3x3) (Lavin and Gray 2016, section 4): sixteen outputs for 36 products a channel pair instead of 144.

With g a kernel and d the 6x6 inputs of a 4x4 tile of outputs y, all flattened: y = A ((G g) * (B d)), exactly, up to rounding.
The points are 0, 1, -1, 2, -2 and infinity: more points, or farther ones, save more products and lose more digits.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SIDE, KERNEL = 4, 3
POINTS = (0.0, 1.0, -1.0, 2.0, -2.0)


def transforms() -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """A (16, 36), G (36, 9) and B (36, 36).

    On one axis, evaluating two polynomials of SIDE and KERNEL coefficients at the points, multiplying, and interpolating convolves them
    (Toom and Cook); filtering is the transpose of that.
    """
    evaluate = (
        _vandermonde(SIDE),
        _vandermonde(KERNEL),
        np.linalg.inv(_vandermonde(SIDE + KERNEL - 1)),
    )
    a, g, b = (np.kron(one, one) for one in evaluate)
    return a.T, g, b.T


def _vandermonde(coefficients: int) -> NDArray[np.float64]:
    """Rows evaluate a polynomial at the points; the last takes its leading coefficient, its value at infinity."""
    finite = np.vander(POINTS, coefficients, increasing=True)
    return np.vstack([finite, np.eye(coefficients)[-1]])


def transformed(weight: Tensor) -> Tensor:
    """(K, C, 3, 3) -> (36, C, K): the kernels at the points, computed in float64."""
    kernels = weight.double().permute(2, 3, 1, 0).reshape(KERNEL**2, -1)
    _, g, _ = transforms()
    return (
        (torch.from_numpy(g).to(kernels) @ kernels)
        .view(-1, weight.shape[1], weight.shape[0])
        .to(weight.dtype)
    )
