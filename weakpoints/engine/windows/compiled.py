"""A depthwise convolution over windows, compiled by Numba for the processor that it runs on.

A window and what it reads of the clean map are put together in a patch that stays in the caches:
blocks of `BLOCK` channels, pixels in each. Sums for `TILE` outputs of a row then stay in registers.
LLVM finds no such loops by itself: vectors are written out. Tables (rows, C) come flat.
"""

from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from weakpoints.engine.windows.depthwise import BLOCK

BAND = 4  # rows of outputs that are computed for a block before the next block
_features = get_host_cpu_features()
BYTES = 64 if _features.get("avx512f") else 32 if _features.get("avx") else 16  # of a vector
TILE = 7 if BYTES == 64 else 4  # pixels: their sums and a kernel's row fill 32 or 16 registers


def jit(function):
    """Compiled on the first call, and kept on disk where a folder can be written to."""
    try:
        return njit(cache=True, nogil=True)(function)
    except RuntimeError:
        return njit(nogil=True)(function)


class _Vectors:
    """Instructions on vectors of numbers of arrays."""

    def __init__(self, context, builder, signature, args) -> None:
        self._context, self._builder = context, builder
        self._types, self._args = signature.args, args
        self._width = signature.args[0].dtype.bitwidth // 8
        scalar = context.get_value_type(signature.args[0].dtype)
        self._vector = ir.VectorType(scalar, BYTES // self._width)

    def load(self, array: int, index, more: int = 0):
        """array: the number of the argument."""
        index = self._builder.add(index, ir.Constant(index.type, more))
        return self._builder.load(self._pointer(array, index), align=self._width)

    def store(self, value, array: int, index) -> None:
        self._builder.store(value, self._pointer(array, index), align=self._width)

    def clamped(self, value, low, high):
        # not a minimum and a maximum, which drop NaN: PyTorch's clamp keeps it
        for sign, bound in (("<", low), (">", high)):
            limit = self._spread(bound)
            beyond = self._builder.fcmp_ordered(sign, value, limit)
            value = self._builder.select(beyond, limit, value)
        return value

    def _pointer(self, array: int, index):
        kind = self._context.make_array(self._types[array])
        data = kind(self._context, self._builder, self._args[array]).data
        place = self._builder.gep(data, [index])
        return self._builder.bitcast(place, self._vector.as_pointer())

    def _spread(self, value):
        nothing, integer = ir.Constant(self._vector, ir.Undefined), ir.IntType(32)
        one = self._builder.insert_element(nothing, value, ir.Constant(integer, 0))
        zeros = ir.Constant(ir.VectorType(integer, self._vector.count), [0] * self._vector.count)
        return self._builder.shuffle_vector(one, nothing, zeros)


@intrinsic
def _lanes(typingctx, array):
    """Numbers of a vector."""

    def codegen(context, builder, signature, args):
        return context.get_constant(types.intp, BYTES * 8 // array.dtype.bitwidth)

    return types.intp(array), codegen


@intrinsic
def _move(typingctx, source, first, to, at, low, high):
    """A vector from source[first] to to[at], clamped."""

    def codegen(context, builder, signature, args):
        vectors = _Vectors(context, builder, signature, args)
        value = vectors.clamped(vectors.load(0, args[1]), args[4], args[5])
        vectors.store(value, 2, args[3])
        return context.get_dummy_value()

    return types.void(source, first, to, at, low, high), codegen


@intrinsic
def _tile(typingctx, patch, at, row, weights, first, kernel, out, to, step, low, high):
    """TILE outputs from out[to] on, clamped, of the patch's pixels from patch[at] on.

    row, step: between rows of the patch, and outputs. kernel: tuples, whose lengths are rows,
    columns and the stride: they belong to the type, so that each kernel is compiled by itself.
    """
    rows, columns, stride = (len(part) for part in kernel)

    def codegen(context, builder, signature, args):
        _, at, row, _, first, _, _, to, step, low, high = args
        vectors = _Vectors(context, builder, signature, args)
        bias = vectors.load(3, first, rows * columns * BLOCK)
        places = [cgutils.alloca_once_value(builder, bias) for _ in range(TILE)]
        with cgutils.for_range(builder, ir.Constant(at.type, rows)) as loop:
            here = builder.add(at, builder.mul(loop.index, row))
            taps = builder.mul(loop.index, ir.Constant(at.type, columns * BLOCK))
            taps = builder.add(first, taps)
            weight = [vectors.load(3, taps, u * BLOCK) for u in range(columns)]
            sums = [builder.load(place) for place in places]
            for x in range((TILE - 1) * stride + columns):
                pixel = vectors.load(0, here, x * BLOCK)
                for t in range(TILE):
                    if 0 <= x - t * stride < columns:
                        product = builder.fmul(weight[x - t * stride], pixel, flags=("contract",))
                        sums[t] = builder.fadd(sums[t], product, flags=("contract",))
            for t in range(TILE):
                builder.store(sums[t], places[t])
        for place in places:
            vectors.store(vectors.clamped(builder.load(place), low, high), 6, to)
            to = builder.add(to, step)
        return context.get_dummy_value()

    arguments = (patch, at, row, weights, first, kernel, out, to, step, low, high)
    return types.void(*arguments), codegen


@jit
def _pixel(patch, at, size, source, first, channels, low, high):
    """A pixel's channels, clamped, into the blocks of the patch."""
    lanes = _lanes(patch)
    whole = channels - channels % lanes
    for c in range(0, whole, lanes):
        _move(source, first + c, patch, at + c // BLOCK * size + c % BLOCK, low, high)
    for c in range(whole, channels):
        value = source[first + c]
        value = low if value < low else value
        patch[at + c // BLOCK * size + c % BLOCK] = high if value > high else value


@jit
def _fill(patch, size, table, sizes, channels, clean, origin, picture, low, high):
    """The patch of a picture; where there is no clean map, what lies around is zero already."""
    (height, width), (high_patch, wide), _ = sizes
    first, down, across, clean_width = origin
    for y in range(high_patch):
        for x in range(wide):
            at = (y * wide + x) * BLOCK
            if down <= y < down + height and across <= x < across + width:
                row = (picture * height + y - down) * width + x - across
                _pixel(patch, at, size, table, row * channels, channels, low, high)
            elif len(clean):
                row = first + y * clean_width + x
                _pixel(patch, at, size, clean, row * channels, channels, low, high)


@jit
def depthwise(table, sizes, channels, clean, origins, weights, kernel, down, bounds, patch, out):
    """out: (P * h' * w', C), and behind it room for a tile.

    table: (P * h * w, C), the windows. sizes: of windows, of what the outputs read, of outputs.
    clean: the map's rows, or nothing, where windows are whole maps. origins: (P, 4), the row of
    `clean` where a patch begins, where the window lies in the patch (y, x), the map's width.
    weights: (blocks, kernel's pixels and the bias, BLOCK). down: the stride; kernel: see `_tile`.
    bounds: what inputs, then outputs, are clamped to. patch: zeros, see `patch_elements`.
    """
    _, (_, wide), (rows, columns) = sizes
    number, lanes, blocks = table.dtype.type, _lanes(table), -(-channels // BLOCK)
    size, taps = len(patch) // blocks, len(weights) // blocks
    inputs, outputs = (number(bounds[0]), number(bounds[1])), (number(bounds[2]), number(bounds[3]))
    end = len(origins) * rows * columns * channels
    for p in range(len(origins)):
        _fill(patch, size, table, sizes, channels, clean, origins[p], p, *inputs)
        for band in range(0, rows, BAND):
            for c in range(0, channels, lanes):
                block, lane = c // BLOCK, c % BLOCK
                for y in range(band, min(rows, band + BAND)):
                    for tile in range(0, columns, TILE):
                        x = max(0, min(tile, columns - TILE))  # some pixels twice, none too many
                        to = ((p * rows + y) * columns + x) * channels + c
                        fits = columns >= TILE and c + lanes <= channels
                        place, step = (to, channels) if fits else (end, lanes)
                        at = block * size + (y * down * wide + x * len(kernel[2])) * BLOCK + lane
                        first = block * taps + lane
                        _tile(
                            patch, at, wide * BLOCK, weights, first, kernel, out, place, step,
                            *outputs,
                        )  # fmt: skip
                        if fits:
                            continue
                        for t in range(min(TILE, columns)):
                            for i in range(min(lanes, channels - c)):
                                out[to + t * channels + i] = out[end + t * lanes + i]
