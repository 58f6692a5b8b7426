import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from weakpoints.engine.spans import Spans, Tiles


@st.composite
def layers(draw: st.DrawFn) -> tuple[int, int, int, int, int]:
    """length, kernel, stride, padding, extra padding behind of a layer that has an output."""
    kernel = draw(st.integers(1, 7))
    padding = draw(st.integers(0, kernel // 2))
    return (
        draw(st.integers(max(1, kernel - 2 * padding), 30)),
        kernel,
        draw(st.integers(1, 3)),
        padding,
        draw(st.integers(0, 2)),
    )


@given(layers(), st.data())
def test_a_span_holds_every_output_that_its_inputs_reach_and_no_more(
    layer: tuple[int, int, int, int, int], data: st.DataObject
) -> None:
    length, kernel, stride, padding, extra = layer
    first = data.draw(st.integers(0, length - 1))
    last = data.draw(st.integers(first, length - 1))
    line = torch.zeros(1, 1, length + extra)
    line[..., first : last + 1] = 1
    ones = torch.ones(1, 1, kernel)
    outputs = torch.nn.functional.conv1d(line, ones, stride=stride, padding=padding)[0, 0]
    reached = outputs.nonzero()[:, 0].tolist()
    before = Spans(np.array([first]), np.array([last]), length)
    span = before.through(kernel, stride, padding, extra)
    assert span.length == len(outputs)
    assert 0 <= span.first[0] <= span.last[0] < span.length
    if reached:
        assert (span.first[0], span.last[0]) == (reached[0], reached[-1])
    else:
        assert span.sizes[0] == 1


@st.composite
def spans(draw: st.DrawFn, pictures: int, length: int) -> Spans:
    pairs = draw(
        st.lists(
            st.tuples(st.integers(0, length - 1), st.integers(0, length - 1)),
            min_size=pictures,
            max_size=pictures,
        )
    )
    return Spans(np.array([min(p) for p in pairs]), np.array([max(p) for p in pairs]), length)


@given(layers(), st.integers(1, 4), st.integers(1, 6), st.integers(1, 6), st.data())
def test_a_table_of_tiles_gives_each_layer_the_pixels_it_would_read_from_whole_maps(
    layer: tuple[int, int, int, int, int],
    pictures: int,
    side_before: int,
    side_after: int,
    data: st.DataObject,
) -> None:
    """The oracle keeps every picture's whole map, and reads it pixel by pixel."""
    length, kernel, stride, padding, extra = layer
    before = Tiles(
        data.draw(spans(pictures, length)), data.draw(spans(pictures, length)), side_before
    )
    maps = np.arange(1, length**2 + 1).reshape(1, length, length).repeat(pictures, 0)
    table = np.zeros(1 + length**2 + before.count * side_before**2, int)
    table[1 : length**2 + 1] = maps[0].ravel()
    for p in range(pictures):
        for y in range(before.y.first[p], before.y.last[p] + 1):
            for x in range(before.x.first[p], before.x.last[p] + 1):
                maps[p, y, x] = table[before.rows(np.array(p), np.array(y), np.array(x))] = -(
                    p * length**2 + y * length + x + 1
                )
    np.testing.assert_array_equal(table[before.whole()], maps)

    after = Tiles(
        before.y.through(kernel, stride, padding, extra),
        before.x.through(kernel, stride, padding, extra),
        side_after,
    )
    found = table[after.reads(before, kernel, stride, padding)]
    tile = 0
    for p in range(pictures):
        padded = np.pad(maps[p], 200)
        for top in range(after.y.first[p], after.y.last[p] + 1, side_after):
            for left in range(after.x.first[p], after.x.last[p] + 1, side_after):
                y, x, reach = (
                    top * stride - padding + 200,
                    left * stride - padding + 200,
                    (side_after - 1) * stride + kernel,
                )
                np.testing.assert_array_equal(found[tile], padded[y : y + reach, x : x + reach])
                tile += 1
    assert tile == after.count == len(found)
