"""Run lengths of a mask: read bit by bit, as Label Studio's page does."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from weakpoints.images.rle import mask_to_rle


def decoded(rle: list[int]) -> list[int]:
    bits = "".join(f"{byte:08b}" for byte in rle)
    count, at = int(bits[:32], 2), 32 + 5 + 16
    word = int(bits[32:37], 2) + 1
    sizes = [int(bits[37 + 4 * i : 41 + 4 * i], 2) + 1 for i in range(4)]
    values: list[int] = []
    while len(values) < count:
        repeated, which = bits[at] == "1", int(bits[at + 1 : at + 3], 2)
        at += 3
        length = int(bits[at : at + sizes[which]], 2) + 1
        at += sizes[which]
        for _ in range(1 if repeated else length):
            value = int(bits[at : at + word], 2)
            values += [value] * (length if repeated else 1)
            at += word
    return values


@given(arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_each_pixel_comes_back_four_times(mask: np.ndarray) -> None:
    assert decoded(mask_to_rle(mask)) == np.repeat(mask.ravel() * 255, 4).tolist()


@pytest.mark.parametrize("length", [1, 2, 4, 16, 64, 65, 16_384, 16_385, 40_000])
def test_runs_of_every_size_come_back(length: int) -> None:
    mask = np.zeros((1, length + 1), bool)
    mask[0, :length] = True
    assert decoded(mask_to_rle(mask)) == [255] * 4 * length + [0] * 4
