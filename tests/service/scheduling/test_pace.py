from hypothesis import given
from hypothesis import strategies as st

from app.service.scheduling.pace import KINDS, Pace


def test_nothing_is_expected_until_something_was_measured() -> None:
    pace = Pace()
    assert (pace.expected(5), pace.at_most(5)) == (0.0, 0.0)
    pace.measure(5, 2.0)
    assert pace.expected(5) == 2.0
    assert 2.0 < pace.at_most(5) < 4.0


def test_the_newest_measurements_count_most_and_a_steady_pace_has_hardly_a_margin() -> None:
    pace = Pace()
    pace.measure(5, 10.0)
    for _ in range(40):
        pace.measure(5, 1.0)
    assert 1.0 <= pace.expected(5) < 1.01
    assert pace.at_most(5) < 1.1


def test_a_cost_that_was_never_seen_is_dearer_in_proportion_and_cheaper_by_nothing() -> None:
    pace = Pace()
    pace.measure(100, 2.0)
    assert pace.expected(300) == 6.0
    assert pace.expected(1) == 2.0
    pace.measure(0, 0.5)
    assert pace.expected(1) == 0.5


def test_what_was_given_up_only_says_that_it_takes_longer() -> None:
    pace = Pace()
    pace.measure(5, 2.0)
    pace.measure_part(5, 1.0)
    assert pace.expected(5) == 2.0
    pace.measure_part(5, 6.0)
    assert pace.expected(5) == 3.0


@given(st.lists(st.tuples(st.integers(0, 2**40), st.floats(0, 1000)), max_size=30), st.integers(0))
def test_whatever_was_measured_an_expectation_is_a_time(
    measured: list[tuple[int, float]], cost: int
) -> None:
    pace = Pace()
    for known, seconds in measured:
        pace.measure(known, seconds)
    assert 0 <= pace.expected(cost) <= pace.at_most(cost)


def test_costs_that_were_not_seen_for_long_are_forgotten() -> None:
    pace = Pace()
    for cost in range(2 * KINDS):
        pace.measure(cost, 1.0)
    assert len(pace._measured) == KINDS
