"""Forked processes: the threads of their parent's networks are not in them.

A child would wait for them for ever, so it is refused.
"""

import os

from weakpoints.errors import WeakpointsError

LOADED_IN = set[int]()  # processes that loaded a network; a fork takes its parent's along


def check_process(loaded_in: int) -> None:
    """Raises WeakpointsError where the network was loaded in another process."""
    if os.getpid() != loaded_in:
        raise WeakpointsError(
            "this network was loaded before the process was forked, and its threads stayed in "
            "the parent: start processes by `spawn`, or load it in the children alone"
        )


def check_threads() -> None:
    """To be called before a network is loaded.

    Raises WeakpointsError where the parent has loaded one: PyTorch's threads are those of all.
    """
    parent = parent_of_threads()
    LOADED_IN.add(os.getpid())
    if parent is not None:
        raise WeakpointsError(
            "a network was loaded before the process was forked, and PyTorch's threads stayed in "
            "the parent: start processes by `spawn`, or load networks in the children alone (or "
            "all with OMP_NUM_THREADS=1)"
        )


def parent_of_threads() -> int | None:
    """The process whose threads a child would wait for; None where there is none.

    A parent with one thread leaves none behind.
    """
    from torch import get_num_threads  # heavy

    others = LOADED_IN - {os.getpid()}
    return next(iter(others)) if others and get_num_threads() > 1 else None
