"""Loops over windows, compiled by Numba for the processor that they run on.

Their twins in PyTorch are in `loops`. They are the tests' oracle, and run where there is no Numba.
A table (rows, C) comes flat. What a loop writes lies at fixed distances in one array: LLVM gives up
on vectors where it has to tell many places apart.
"""

import numpy as np
from numba import njit

LANE = 64  # channels at a time: what lies between two passes stays in the level-1 cache

FAST = {"contract", "reassoc", "nsz"}  # no promise that numbers are finite


def jit(function):
    """Compiled on the first call, and kept on disk where a folder can be written to."""
    try:
        return njit(cache=True, nogil=True, fastmath=FAST)(function)
    except RuntimeError:
        return njit(nogil=True, fastmath=FAST)(function)


@jit
def _evaluate(inputs, src, start, step, zeros, to, count):
    """to (7, LANE): the polynomial of `inputs` <= 5 coefficients at `winograd.POINTS`."""
    x0 = src[start : start + count]
    x1 = src[start + step : start + step + count] if inputs > 1 else zeros
    x2 = src[start + 2 * step : start + 2 * step + count] if inputs > 2 else zeros
    x3 = src[start + 3 * step : start + 3 * step + count] if inputs > 3 else zeros
    x4 = src[start + 4 * step : start + 4 * step + count] if inputs > 4 else zeros
    last = src[start + (inputs - 1) * step : start + (inputs - 1) * step + count]
    for c in range(count):
        even, odd = x0[c] + x2[c] + x4[c], x1[c] + x3[c]
        to[c] = x0[c]
        to[LANE + c] = last[c]
        to[2 * LANE + c] = even + odd
        to[3 * LANE + c] = even - odd
        even, odd = x0[c] + 4 * x2[c] + 16 * x4[c], 2 * x1[c] + 8 * x3[c]
        to[4 * LANE + c] = even + odd
        to[5 * LANE + c] = even - odd
        to[6 * LANE + c] = 0.5 * (x1[c] + 0.25 * x3[c]) + (x0[c] + 0.25 * (x2[c] + 0.25 * x4[c]))


@jit
def _interpolate(inputs, src, at, to, count):
    """to (inputs + 2, LANE): the coefficients of a polynomial from its values at the points, which
    begin at src[at].
    """
    y0 = src[at[0] : at[0] + count]
    last = src[at[1] : at[1] + count]
    y2 = src[at[2] : at[2] + count]
    if inputs == 1:
        for c in range(count):
            to[c] = y0[c]
            to[LANE + c] = y2[c] - y0[c] - last[c]
            to[2 * LANE + c] = last[c]
        return
    y3 = src[at[3] : at[3] + count]
    if inputs == 2:
        for c in range(count):
            to[c] = y0[c]
            to[LANE + c] = 0.5 * (y2[c] - y3[c]) - last[c]
            to[2 * LANE + c] = 0.5 * (y2[c] + y3[c]) - y0[c]
            to[3 * LANE + c] = last[c]
        return
    y4 = src[at[4] : at[4] + count]
    if inputs == 3:
        for c in range(count):
            k2, odd = 0.5 * (y2[c] + y3[c]) - y0[c] - last[c], 0.5 * (y2[c] - y3[c])
            k3 = (0.5 * (y4[c] - y0[c]) - 2 * k2 - 8 * last[c] - odd) / 3
            to[c] = y0[c]
            to[LANE + c] = odd - k3
            to[2 * LANE + c] = k2
            to[3 * LANE + c] = k3
            to[4 * LANE + c] = last[c]
        return
    y5 = src[at[5] : at[5] + count]
    if inputs == 4:
        for c in range(count):
            even, odd = 0.5 * (y2[c] + y3[c]) - y0[c], 0.5 * (y2[c] - y3[c]) - last[c]
            far_even, far_odd = 0.5 * (y4[c] + y5[c]) - y0[c], 0.25 * (y4[c] - y5[c])
            k4 = (0.25 * far_even - even) / 3
            k3 = (far_odd - 16 * last[c] - odd) / 3
            to[c] = y0[c]
            to[LANE + c] = odd - k3
            to[2 * LANE + c] = even - k4
            to[3 * LANE + c] = k3
            to[4 * LANE + c] = k4
            to[5 * LANE + c] = last[c]
        return
    y6 = src[at[6] : at[6] + count]
    for c in range(count):
        even, odd = 0.5 * (y2[c] + y3[c]) - y0[c] - last[c], 0.5 * (y2[c] - y3[c])
        far_even = 0.5 * (y4[c] + y5[c]) - y0[c] - 64 * last[c]
        far_odd = 0.25 * (y4[c] - y5[c]) - odd
        k4 = (0.25 * far_even - even) / 3
        k2 = even - k4
        near = 2 * (y6[c] - y0[c]) - 0.5 * k2 - 0.125 * k4 - 0.03125 * last[c]
        k5 = (far_odd - 4 * (odd - near)) / 11.25
        k3 = far_odd / 3 - 5 * k5
        to[c] = y0[c]
        to[LANE + c] = odd - k3 - k5
        to[2 * LANE + c] = k2
        to[3 * LANE + c] = k3
        to[4 * LANE + c] = k4
        to[5 * LANE + c] = k5
        to[6 * LANE + c] = last[c]


@jit
def evaluate(table, channels, blocks, rows, points):
    """points: the changes of each block at the points of both axes."""
    middle = np.empty(5 * 7 * LANE, table.dtype)
    line = np.empty(7 * LANE, table.dtype)
    zeros = np.zeros(LANE, table.dtype)
    for b in range(len(blocks)):
        _, first, width, _, _, high, wide = blocks[b]
        for c in range(0, channels, LANE):
            some = min(LANE, channels - c)
            for x in range(wide):
                _evaluate(
                    high,
                    table,
                    (first + x) * channels + c,
                    width * channels,
                    zeros,
                    middle[x * 7 * LANE : (x + 1) * 7 * LANE],
                    some,
                )
            for i in range(high + 2):
                _evaluate(wide, middle, i * LANE, 7 * LANE, zeros, line, some)
                for j in range(wide + 2):
                    at = rows[b, i, j] * channels + c
                    points[at : at + some] = line[j * LANE : j * LANE + some]


@jit
def _add(to, line):
    for k in range(len(to)):
        to[k] += line[k]


@jit
def interpolate(points, channels, blocks, rows, windows, out):
    """out: what the blocks' products add up to in each picture's window."""
    middle = np.empty(7 * 7 * LANE, out.dtype)
    line = np.empty(7 * LANE, out.dtype)
    starts, steps = np.empty(7, np.int64), np.arange(7) * 7 * LANE
    last = 0
    for p in range(len(windows)):
        start, height, width = windows[p, 0], windows[p, 1], windows[p, 2]
        first = last
        while last < len(blocks) and blocks[last, 0] == p:
            last += 1
        out[start * channels : (start + height * width) * channels] = 0
        for c in range(0, channels, LANE):
            some = min(LANE, channels - c)
            for b in range(first, last):
                _, _, _, top, left, high, wide = blocks[b]
                for j in range(wide + 2):
                    starts[:] = rows[b, :, j] * channels + c
                    to = middle[j * 7 * LANE : (j + 1) * 7 * LANE]
                    _interpolate(high, points, starts, to, some)
                for u in range(max(0, -top), min(high + 2, height - top)):
                    _interpolate(wide, middle, steps + u * LANE, line, some)
                    for v in range(max(0, -left), min(wide + 2, width - left)):
                        at = (start + (top + u) * width + left + v) * channels + c
                        _add(out[at : at + some], line[v * LANE : v * LANE + some])


@jit
def _activate(to, before, clean, ceiling):
    for k in range(len(to)):
        value = before[k] + to[k]
        # not min() and max(), which drop NaN: PyTorch's clamp keeps it
        value = to.dtype.type(0) if value < 0 else value
        to[k] = (ceiling if value > ceiling else value) - clean[k]


@jit
def activate(channels, windows, clean, before, ceiling, out):
    """out: the change behind the activation, from the one before it."""
    ceiling = out.dtype.type(ceiling)
    for p in range(len(windows)):
        start, height, width, pixel, across = windows[p]
        some = width * channels
        for y in range(height):
            at, under = (start + y * width) * channels, (pixel + y * across) * channels
            here = slice(under, under + some)
            _activate(out[at : at + some], before[here], clean[here], ceiling)


@jit
def _largest(best, clean):
    for k in range(len(best)):
        # not max(), which drops NaN: PyTorch's pool keeps it, and it must reach the logits
        best[k] = best[k] if best[k] >= clean[k] or best[k] != best[k] else clean[k]


@jit
def _largest_changed(best, clean, change):
    for k in range(len(best)):
        value = clean[k] + change[k]
        best[k] = best[k] if best[k] >= value or best[k] != best[k] else value


@jit
def _less(to, best, clean):
    for k in range(len(to)):
        to[k] = best[k] - clean[k]


@jit
def pool(table, channels, inside, clean, map_height, out, outside, after, kernel, stride, padding):
    """out: the change of the maximum; inside, outside: the windows before and behind."""
    best = np.empty(channels, table.dtype)
    for p in range(len(inside)):
        start, height, width, pixel, across = inside[p]
        top, left = pixel // across, pixel % across
        start_out, height_out, width_out, pixel_out, across_out = outside[p]
        top_out, left_out = pixel_out // across_out, pixel_out % across_out
        for n in range(height_out * width_out):
            y = (top_out + n // width_out) * stride - padding
            x = (left_out + n % width_out) * stride - padding
            best[:] = -np.inf
            for v in range(max(y, 0), min(y + kernel, map_height)):
                for u in range(max(x, 0), min(x + kernel, across)):
                    under = (v * across + u) * channels
                    here = clean[under : under + channels]
                    if top <= v < top + height and left <= u < left + width:
                        at = (start + (v - top) * width + u - left) * channels
                        _largest_changed(best, here, table[at : at + channels])
                    else:
                        _largest(best, here)
            at = (start_out + n) * channels
            under = (pixel_out + n // width_out * across_out + n % width_out) * channels
            _less(out[at : at + channels], best, after[under : under + channels])
