from hypothesis import given
from hypothesis import strategies as st

from app.service.scheduling.fair_share import Clocks

Asked = list[tuple[str, float]]  # callers, and the seconds that each request takes


def served(asked: Asked, clocks: Clocks | None = None) -> str:
    """All of them come at once, and are served one by one."""
    clocks, waiting, order = clocks or Clocks(), list(asked), ""
    for caller, _ in asked:
        clocks.come(caller)
    while waiting:
        caller, seconds = waiting.pop(clocks.first([who for who, _ in waiting]))
        clocks.had(caller, seconds, {who for who, _ in waiting})
        order += caller
    return order


def test_callers_take_turns_however_many_requests_each_has() -> None:
    assert served([("a", 1.0)] * 4 + [("X", 1.0)] * 2) == "aXaXaa"


def test_a_dear_request_counts_as_many_cheap_ones() -> None:
    assert served([("D", 3.0)] * 2 + [("c", 1.0)] * 6) == "DcccDccc"


def test_who_was_away_has_saved_nothing_up() -> None:
    clocks = Clocks()
    served([("a", 1.0)] * 9, clocks)
    assert served([("a", 1.0)] * 3 + [("X", 1.0)] * 3, clocks) == "aXaXaX"


def test_newcomers_without_end_do_not_keep_one_that_waits_from_its_turn() -> None:
    clocks = Clocks()
    waiting = ["a", "a"]
    for _ in waiting:
        clocks.come("a")
    for n in range(20):
        waiting.append(f"new {n}")
        clocks.come(waiting[-1])
        caller = waiting.pop(clocks.first(waiting))
        clocks.had(caller, 1.0, set(waiting))
        if "a" not in waiting:
            return
    raise AssertionError("a waits still")


def test_what_runs_counts_before_it_has_ended() -> None:
    clocks = Clocks()
    waiting = ["a", "a", "X"]
    for caller in waiting:
        clocks.come(caller)
    chosen = [waiting.pop(clocks.first(waiting)) for _ in range(3)]
    assert chosen == ["a", "X", "a"]


def test_who_has_had_less_passes_a_request_that_takes_long() -> None:
    clocks = Clocks()
    for caller in ("dear", "cheap"):
        clocks.come(caller)
    assert clocks.first(["dear"]) == 0
    assert clocks.passing([], "dear", 9.0) is None
    assert clocks.passing(["cheap"], "dear", 0.0) is None
    assert clocks.passing(["cheap"], "dear", 0.1) == 0
    clocks.had("cheap", 4.0, {"cheap"})
    assert clocks.passing(["cheap"], "dear", 3.0) is None
    assert clocks.passing(["cheap"], "dear", 5.0) == 0


def test_callers_that_are_gone_are_forgotten() -> None:
    clocks = Clocks()
    for n in range(1000):
        served([(f"caller {n}", 1.0)], clocks)
    assert len(clocks._clock) <= 1


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from([0.5, 1.0, 4.0])), min_size=1, max_size=40
    )
)
def test_while_two_callers_wait_neither_is_more_than_its_last_request_ahead(asked: Asked) -> None:
    clocks, waiting, had = Clocks(), list(asked), dict.fromkeys("abc", 0.0)
    for caller, _ in asked:
        clocks.come(caller)
    while waiting:
        caller, seconds = waiting.pop(clocks.first([who for who, _ in waiting]))
        assert had[caller] <= min(had[other] for other, _ in [*waiting, (caller, 0)])
        clocks.had(caller, seconds, {who for who, _ in waiting})
        had[caller] += seconds
