import threading
import time
from collections.abc import Callable

import pytest
import torch

from weakpoints.engine import threads
from weakpoints.engine.chunks import evenly


def test_each_thread_of_a_pool_sets_its_own_number_and_nobody_else_s(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[tuple[int, int]] = []

    def setting(threads: int) -> None:
        calls.append((threading.get_ident(), threads))

    monkeypatch.setattr(threads, "_settings", lambda: (setting,))
    before = torch.get_num_threads()
    with threads.pool(2) as each:
        found = list(each(lambda pictures: pictures.stop, [slice(0, 1), slice(1, 3)]))
    assert found == [1, 3]
    assert {threads for _, threads in calls} == {1}
    assert threading.get_ident() not in {ident for ident, _ in calls}
    assert torch.get_num_threads() == before


def test_one_worker_is_the_caller_s_own_thread() -> None:
    with threads.pool(1) as each:
        assert list(each(lambda _: threading.get_ident(), [slice(0, 1)])) == [threading.get_ident()]


def test_where_a_setting_is_missing_one_thread_works(monkeypatch: pytest.MonkeyPatch) -> None:
    settings: tuple[Callable[[int], object], ...] = ()
    monkeypatch.setattr(threads, "_settings", lambda: settings)
    assert threads.usable_threads() == 1


def test_what_is_left_when_a_pool_ends_early_is_not_begun() -> None:
    begun, go_on = [], threading.Event()

    def work(pictures: slice) -> int:
        begun.append(pictures.start)
        go_on.wait(60)
        return 1

    def interrupted() -> None:
        with threads.pool(2) as each:
            threading.Timer(0.05, go_on.set).start()
            next(each(work, [slice(i, i + 1) for i in range(50)]))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert len(begun) < 50


def test_while_a_result_is_looked_at_no_more_is_begun_than_the_workers_need() -> None:
    begun = []

    def work(pictures: slice) -> int:
        begun.append(pictures.start)
        return pictures.start

    with threads.pool(2) as each:
        results = each(work, [slice(i, i + 1) for i in range(50)])
        assert next(results) == 0
        time.sleep(0.05)
        assert len(begun) <= 3
        assert list(results) == list(range(1, 50))


@pytest.mark.parametrize(("count", "most", "multiple"), [(1, 64, 2), (213, 64, 2), (7, 3, 4)])
def test_every_picture_is_in_one_slice_and_every_thread_has_as_many(
    count: int, most: int, multiple: int
) -> None:
    slices = list(evenly(count, most, multiple))
    assert [i for each in slices for i in range(each.start, each.stop)] == list(range(count))
    sizes = [each.stop - each.start for each in slices]
    assert max(sizes) <= most
    assert max(sizes) - min(sizes) <= 1
    assert len(sizes) % multiple == 0 or len(sizes) == count
