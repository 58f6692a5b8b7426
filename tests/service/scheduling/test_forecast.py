from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.service.scheduling.fair_share import FairShare
from app.service.scheduling.forecast import KNOWN_COSTS, Claim, Forecast, Full, Pace
from tests.service import Clock


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
    for cost in range(2 * KNOWN_COSTS):
        pace.measure(cost, 1.0)
    assert len(pace._measured) == KNOWN_COSTS


MakeClaim = Callable[..., Claim]


def forecast_of(seconds: float, callers: str = "") -> Forecast:
    """Requests of cost 7 take so many seconds. callers: of those that wait."""
    shares = FairShare()
    for caller in callers:
        shares.enqueue(caller)
    forecast = Forecast(shares)
    for _ in range(50):
        forecast.end(Claim(cost=7), seconds, answered=True)
    return forecast


@pytest.fixture
def claim(clock: Clock) -> MakeClaim:
    """Of a caller that waits so many seconds from now on."""

    def claim(caller: str, seconds: float, expensive: bool = False) -> Claim:
        return Claim(caller, cost=7, until=clock.now + seconds, expensive=expensive)

    return claim


def test_what_waits_before_a_request_decides_whether_it_can_be_in_time(
    claim: MakeClaim,
) -> None:
    forecast = forecast_of(10, "abc")
    waiting = [claim(caller, 100) for caller in "abc"]
    forecast.check(claim("d", 41), waiting)
    with pytest.raises(Full, match=r"after 40\.0 s and its caller waits 35\.0") as raised:
        forecast.check(claim("d", 35), waiting)
    assert raised.value.retry_after == pytest.approx(5, abs=0.1)
    assert raised.value.limit == pytest.approx(35)
    assert raised.value.actual == pytest.approx(40, abs=0.1)


def test_one_caller_s_many_requests_are_not_before_another_s_first(
    claim: MakeClaim,
) -> None:
    forecast = forecast_of(10, "aaaa")
    waiting = [claim("a", 100) for _ in range(4)]
    forecast.check(claim("b", 21), waiting)
    with pytest.raises(Full):
        forecast.check(claim("a", 45), waiting)


def test_what_runs_counts_for_what_is_left_of_it(
    claim: MakeClaim,
) -> None:
    forecast, running = forecast_of(10), claim("a", 100)
    forecast.begin(running)
    with pytest.raises(Full):
        forecast.check(claim("b", 15), [])
    forecast.check(claim("b", 21), [])
    forecast.end(running, 10, answered=True)
    assert forecast.idle
    assert forecast.seconds_of_all([running]) == pytest.approx(10)


def test_an_expensive_one_that_runs_is_not_waited_for(
    claim: MakeClaim,
) -> None:
    forecast = forecast_of(10)
    forecast.begin(claim("a", 100, expensive=True))
    forecast.check(claim("b", 11), [])
    with pytest.raises(Full):
        forecast.check(claim("b", 15, expensive=True), [])


def test_a_device_without_work_begins_whatever_comes_and_who_sets_no_deadline_is_let_in(
    claim: MakeClaim,
) -> None:
    forecast = forecast_of(10)
    forecast.check(claim("a", 1), [])
    forecast.begin(claim("a", 1))
    forecast.check(Claim("b", cost=7), [])
    with pytest.raises(Full) as raised:
        forecast.check(claim("b", 1), [])
    assert raised.value.retry_after == pytest.approx(10), "when it has no work any more"


def test_what_would_end_after_its_caller_has_gone_is_late(
    claim: MakeClaim,
) -> None:
    forecast = forecast_of(10)
    assert forecast.is_late(claim("a", 9))
    assert not forecast.is_late(claim("a", 11))
    assert not forecast.is_late(Claim("a", cost=7))
