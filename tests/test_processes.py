"""Forked processes: refused where they would wait for threads of their parent's for ever."""

import os

import pytest
import torch

from weakpoints import processes
from weakpoints.errors import WeakpointsError
from weakpoints.processes import check_process, check_threads, parent_of_threads


@pytest.mark.parametrize(("threads", "parent"), [(1, None), (2, -7)])
def test_a_child_is_refused_where_its_parent_loaded_a_network_with_several_threads(
    threads: int, parent: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(processes, "LOADED_IN", set())
    check_threads()
    check_threads()  # another network of the same process
    monkeypatch.setattr(processes, "LOADED_IN", {-7})
    assert parent_of_threads() == parent
    if parent is None:
        check_threads()
    else:
        with pytest.raises(WeakpointsError, match="start processes by `spawn`"):
            check_threads()


def test_a_network_is_used_where_it_was_loaded() -> None:
    check_process(os.getpid())
    with pytest.raises(WeakpointsError, match="before the process was forked"):
        check_process(os.getpid() + 1)
