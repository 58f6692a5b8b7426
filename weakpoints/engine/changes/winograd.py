"""Minimal convolution by overlap-add: n changed inputs and 3 weights an axis for n + 2 products.

On one axis, two polynomials of n and 3 coefficients are evaluated at n + 2 points and multiplied
there. The n + 2 coefficients of their product are interpolated (Toom and Cook; Lavin and Gray 2016,
section 4, is the transpose of it). On two axes, one after the other. Exact, up to rounding.

The points of n are those of n - 1 and one more, so that kernels at all points serve every block.
More points, or farther ones, save more products and lose more digits.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

KERNEL = 3
LARGEST = 5  # inputs of a block, an axis
POINTS = (0.0, np.inf, 1.0, -1.0, 2.0, -2.0, 0.5)

Matrix = NDArray[np.float64]


def evaluation(coefficients: int, points: int) -> Matrix:
    """(points, coefficients): a polynomial's values at the first points; at infinity, its leading
    coefficient.
    """
    rows = np.vander(np.nan_to_num(POINTS[:points], posinf=0), coefficients, increasing=True)
    rows[1] = np.eye(coefficients)[-1]
    return rows


def interpolation(inputs: int) -> Matrix:
    """(n + 2, n + 2): the coefficients of a product from its values."""
    points = inputs + KERNEL - 1
    return np.asarray(np.linalg.inv(evaluation(points, points)))


def transformed(weight: Tensor) -> Tensor:
    """(K, C, 3, 3) -> (7, 7, C, K): the kernels at the points, computed in float64.

    Flipped, for a change at s reaches the output s - k by the weight k.
    """
    at = torch.from_numpy(evaluation(KERNEL, len(POINTS))).to(weight.device)
    kernels = weight.double().flip(2, 3).permute(2, 3, 1, 0).reshape(KERNEL**2, -1)
    transformed = weight.new_empty(len(POINTS), len(POINTS), *weight.shape[1::-1])
    for i, row in enumerate(at):  # one after the other: in float64 all of them are large
        transformed[i] = (torch.kron(row[None], at) @ kernels).view(transformed.shape[1:])
    return transformed


def sizes(width: int) -> list[int]:
    """Inputs of each block that a span of `width` is cut into.

    The blocks are as few as can be, and as alike as can be.
    """
    count = -(-width // LARGEST)
    return [width // count + (i < width % count) for i in range(count)]
