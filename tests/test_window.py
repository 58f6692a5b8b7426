import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from app.window import Spans


@st.composite
def layers(draw: st.DrawFn) -> tuple[int, int, int, int]:
    """length, kernel, stride, padding of a layer that has an output."""
    kernel = draw(st.integers(1, 7))
    padding = draw(st.integers(0, kernel // 2))
    return draw(st.integers(max(1, kernel - 2 * padding), 30)), kernel, draw(st.integers(1, 3)), padding


@given(layers(), st.data())
def test_a_span_holds_every_output_that_its_inputs_reach_and_no_more(layer: tuple[int, int, int, int], data: st.DataObject) -> None:
    length, kernel, stride, padding = layer
    first = data.draw(st.integers(0, length - 1))
    last = data.draw(st.integers(first, length - 1))
    line = torch.zeros(1, 1, length)
    line[..., first : last + 1] = 1
    reached = torch.nn.functional.conv1d(line, torch.ones(1, 1, kernel), stride=stride, padding=padding)[0, 0].nonzero()[:, 0].tolist()
    span = Spans(np.array([first]), np.array([last]), length).through(kernel, stride, padding)
    assert 0 <= span.first[0] <= span.last[0] < span.length
    if reached:
        assert (span.first[0], span.last[0]) == (reached[0], reached[-1])
    else:
        assert span.size == 1


@given(layers(), st.data())
def test_one_window_size_fits_every_span_and_stays_inside(layer: tuple[int, int, int, int], data: st.DataObject) -> None:
    length, kernel, stride, padding = layer
    pairs = data.draw(st.lists(st.tuples(st.integers(0, length - 1), st.integers(0, length - 1)), min_size=1, max_size=5))
    spans = Spans(np.array([min(p) for p in pairs]), np.array([max(p) for p in pairs]), length)
    assert (spans.starts >= 0).all()
    assert (spans.starts + spans.size <= length).all()
    assert ((spans.starts <= spans.first) & (spans.last < spans.starts + spans.size)).all()
    needed = spans.through(kernel, stride, padding).inputs(kernel, stride, padding)
    assert (np.diff(needed) == 1).all()
    assert needed.min() >= -padding
    assert needed.max() < length + padding
