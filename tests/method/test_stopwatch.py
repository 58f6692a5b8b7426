from weakpoints.method.stopwatch import Lap, Stopwatch


def test_laps_follow_each_other_and_those_of_one_stage_are_added() -> None:
    clock = Stopwatch(10.0, [Lap("upload", 10.0, 10.5), Lap("queue", 10.5, 11.5)])
    clock.lap("trace")
    clock.laps += [Lap("queue", 20.0, 20.25)]
    assert clock.laps[2].start == 11.5
    timing = clock.timing_ms
    assert list(timing) == ["upload", "queue", "trace"]
    assert (timing["upload"], timing["queue"]) == (500.0, 1250.0)


def test_a_new_stopwatch_counts_from_its_making() -> None:
    clock = Stopwatch()
    clock.lap("upload")
    assert clock.laps[0].start == clock.start
    assert 0 <= clock.timing_ms["upload"] <= clock.total_ms
