"""Label Studio's run lengths of a mask, as its `brush` has them."""

import numpy as np
from numpy.typing import NDArray

CHANNELS = 4  # each pixel is red, green, blue and alpha
SIZES = (3, 4, 8, 16)  # bits that a length may take
LONGEST = 2 ** SIZES[-1]
WORD = 8  # bits of a value
FULL = 255


def mask_to_rle(mask: NDArray[np.bool_]) -> list[int]:
    """The bytes of an (H, W) mask, row by row.

    32 bits: how many values there are. 5: bits of a value, less one. Four times 4: bits of each
    size of a length, less one. Then the runs: 1; 2 bits for which size; length less one; value.
    """
    values = mask.ravel()
    changes = np.flatnonzero(values[1:] != values[:-1]) + 1
    edges = np.concatenate([[0], changes, [len(values)]])
    head = f"{CHANNELS * len(values):032b}{WORD - 1:05b}" + "".join(f"{n - 1:04b}" for n in SIZES)
    bits = [head]
    for start, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        value = f"{FULL if values[start] else 0:0{WORD}b}"
        left = CHANNELS * (end - start)
        while left:
            length = min(left, LONGEST)
            which = next(i for i, size in enumerate(SIZES) if length <= 2**size)
            bits.append(f"1{which:02b}{length - 1:0{SIZES[which]}b}{value}")
            left -= length
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return list(int(text, 2).to_bytes(len(text) // 8))
