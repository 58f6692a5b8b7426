"""The two ways in which rows move on a GPU, each one kernel in Triton.

PyTorch does the same in two or three passes over the memory. A number that is not finite stays
one, as there: it is how an overflow of float16 is noticed. Their twins in PyTorch run everywhere
else, and are the tests' oracle. They stand beside their callers in `kernels`.
"""

import triton
import triton.language as tl
from torch import Tensor

NUMBERS = 4096  # that a program moves
CHANNELS = 128  # of them side by side, at most


@triton.jit
def _largest_rows(
    table, index, out, rows, channels, among: tl.constexpr, high: tl.constexpr, wide: tl.constexpr
):
    row = tl.program_id(0) * high + tl.arange(0, high)
    channel = tl.program_id(1) * wide + tl.arange(0, wide)
    inside = (row < rows)[:, None] & (channel < channels)[None, :]
    first = tl.load(index + row.to(tl.int64) * among, mask=row < rows, other=0).to(tl.int64)
    best = tl.load(table + first[:, None] * channels + channel[None, :], mask=inside, other=0.0)
    for i in tl.static_range(1, among):
        following = tl.load(index + row.to(tl.int64) * among + i, mask=row < rows, other=0).to(
            tl.int64
        )
        best = tl.maximum(
            best,
            tl.load(
                table + following[:, None] * channels + channel[None, :], mask=inside, other=0.0
            ),
            propagate_nan=tl.PropagateNan.ALL,
        )
    tl.store(out + row.to(tl.int64)[:, None] * channels + channel[None, :], best, mask=inside)


@triton.jit
def _biased(
    y, bias, out, numbers, channels, has_bias: tl.constexpr, relu: tl.constexpr, many: tl.constexpr
):
    at = tl.program_id(0).to(tl.int64) * many + tl.arange(0, many)
    value = tl.load(y + at, mask=at < numbers, other=0.0)
    if has_bias:
        value += tl.load(bias + at % channels, mask=at < numbers, other=0.0)
    if relu:
        value = tl.maximum(value, 0.0, propagate_nan=tl.PropagateNan.ALL)
    tl.store(out + at, value, mask=at < numbers)


def largest_rows(table: Tensor, index: Tensor, out: Tensor) -> None:
    """out (R, C): in each channel the largest of the A rows that `index` (R, A) names.

    The rows are of `table` (., C). A = 1 gathers.
    """
    rows, among = index.shape
    channels = table.shape[1]
    wide = min(CHANNELS, triton.next_power_of_2(channels))
    high = NUMBERS // wide
    grid = (triton.cdiv(rows, high), triton.cdiv(channels, wide))
    _largest_rows[grid](table, index, out, rows, channels, among=among, high=high, wide=wide)


def biased(y: Tensor, bias: Tensor | None, out: Tensor, *, relu: bool) -> None:
    """out = y + bias, or its ReLU; y and out (R, C) with nothing between their rows, bias (C,)."""
    grid = (triton.cdiv(y.numel(), NUMBERS),)
    _biased[grid](
        y,
        y if bias is None else bias,
        out,
        y.numel(),
        y.shape[1],
        has_bias=bias is not None,
        relu=relu,
        many=NUMBERS,
    )
