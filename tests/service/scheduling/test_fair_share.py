import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from app.service.scheduling.fair_share import FairShare

Asked = list[tuple[str, float]]  # callers, and the seconds that each request takes


def served(asked: Asked, shares: FairShare | None = None) -> str:
    """All of them come at once, and are served one by one."""
    shares, waiting, order = shares or FairShare(), list(asked), ""
    for caller, _ in asked:
        shares.enqueue(caller)
    while waiting:
        caller, seconds = waiting.pop(shares.next([who for who, _ in waiting]))
        shares.charge(caller, seconds, {who for who, _ in waiting})
        order += caller
    return order


def test_callers_take_turns_however_many_requests_each_has() -> None:
    assert served([("a", 1.0)] * 4 + [("X", 1.0)] * 2) == "aXaXaa"


def test_a_dear_request_counts_as_many_cheap_ones() -> None:
    assert served([("D", 3.0)] * 2 + [("c", 1.0)] * 6) == "DcccDccc"


def test_who_was_away_has_saved_nothing_up() -> None:
    shares = FairShare()
    served([("a", 1.0)] * 9, shares)
    assert served([("a", 1.0)] * 3 + [("X", 1.0)] * 3, shares) == "aXaXaX"


def test_newcomers_without_end_do_not_keep_one_that_waits_from_its_turn() -> None:
    shares = FairShare()
    waiting = ["a", "a"]
    for _ in waiting:
        shares.enqueue("a")
    for n in range(20):
        waiting.append(f"new {n}")
        shares.enqueue(waiting[-1])
        caller = waiting.pop(shares.next(waiting))
        shares.charge(caller, 1.0, set(waiting))
        if "a" not in waiting:
            return
    raise AssertionError("a waits still")


def test_what_runs_counts_before_it_has_ended() -> None:
    shares = FairShare()
    waiting = ["a", "a", "X"]
    for caller in waiting:
        shares.enqueue(caller)
    chosen = [waiting.pop(shares.next(waiting)) for _ in range(3)]
    assert chosen == ["a", "X", "a"]


def test_who_has_had_less_passes_a_request_that_takes_long() -> None:
    shares = FairShare()
    for caller in ("dear", "cheap"):
        shares.enqueue(caller)
    assert shares.next(["dear"]) == 0
    assert shares.next_preemptor([], "dear", 9.0) is None
    assert shares.next_preemptor(["cheap"], "dear", 0.0) is None
    assert shares.next_preemptor(["cheap"], "dear", 0.1) == 0
    shares.charge("cheap", 4.0, {"cheap"})
    assert shares.next_preemptor(["cheap"], "dear", 3.0) is None
    assert shares.next_preemptor(["cheap"], "dear", 5.0) == 0


def test_callers_that_are_gone_are_forgotten() -> None:
    shares = FairShare()
    for n in range(1000):
        served([(f"caller {n}", 1.0)], shares)
    assert len(shares._used) <= 1


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from([0.5, 1.0, 4.0])), min_size=1, max_size=40
    )
)
def test_while_two_callers_wait_neither_is_more_than_its_last_request_ahead(asked: Asked) -> None:
    shares, waiting, had = FairShare(), list(asked), dict.fromkeys("abc", 0.0)
    for caller, _ in asked:
        shares.enqueue(caller)
    while waiting:
        caller, seconds = waiting.pop(shares.next([who for who, _ in waiting]))
        assert had[caller] <= min(had[other] for other, _ in [*waiting, (caller, 0)])
        shares.charge(caller, seconds, {who for who, _ in waiting})
        had[caller] += seconds


def test_the_order_that_is_told_is_the_one_that_comes() -> None:
    """Whoever waits, and whatever each takes: the next ones are chosen as told beforehand."""
    rng = np.random.default_rng(3)
    for _ in range(50):
        shares = FairShare()
        callers = [str(rng.integers(4)) for _ in range(9)]
        seconds = rng.uniform(1, 3, 9).tolist()
        for caller in callers:
            shares.enqueue(caller)
        told = list(shares.order(callers, seconds))
        left, came = list(range(9)), []
        while left:
            number = left.pop(shares.next([callers[index] for index in left]))
            shares.charge(callers[number], seconds[number], {callers[index] for index in left})
            came.append(number)
        assert told == came
