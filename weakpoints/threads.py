"""How many threads may work: processors that this process may use, and its share of their time.

A machine has more processors than a container's quota pays for. Threads beyond the quota wait for
each other while the quota is used up.
"""

import os
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path, PurePosixPath

from weakpoints.errors import WeakpointsError

SETTING = "WEAKPOINTS_THREADS"
PROC, MOUNT = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
MOST = 1024


def thread_count(environment: Mapping[str, str] = os.environ) -> int:
    """What WEAKPOINTS_THREADS says, else the processors that may be used. Raises WeakpointsError.

    Of a quota of one and a half processors one is taken: two threads would wait half of the time.
    """
    given = environment.get(SETTING, "").strip()
    if given:
        if not (given.isdecimal() and 1 <= int(given) <= MOST):
            raise WeakpointsError(f"{SETTING} is {given!r}, not a number from 1 to {MOST}")
        return int(given)
    share = quota()
    allowed = affinity()
    return allowed if share is None else max(1, min(allowed, int(share)))


def affinity() -> int:
    """Processors on which this process may run."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def quota(proc: Path = PROC, mount: Path = MOUNT) -> float | None:
    """Processors that the control group and those above it pay for; None: no limit."""
    try:
        lines = proc.read_text().splitlines()
    except OSError:
        return None
    shares = []
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if not controllers:  # version 2 has one tree for all
            shares += [_share_of_two(folder) for folder in _upwards(mount, group)]
        elif "cpu" in controllers.split(","):
            for tree in ("cpu", controllers):
                shares += [_share_of_one(folder) for folder in _upwards(mount / tree, group)]
    return min((share for share in shares if share is not None), default=None)


def wait_without_spinning(environment: MutableMapping[str, str] = os.environ) -> None:
    """For a command, before PyTorch is loaded; what is set already has the last word.

    OpenMP's threads wait for each other in a loop. Where another program has a processor, the one
    that they wait for is not running, and that loop takes most of the time.
    """
    environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    environment.setdefault("KMP_BLOCKTIME", "0")  # Intel's OpenMP, milliseconds in the loop
    count = thread_count(environment)
    if environment.get(SETTING, "").strip():
        environment["OMP_NUM_THREADS"] = str(count)
    elif count < affinity():  # else PyTorch's own choice is better: it counts cores, not threads
        environment.setdefault("OMP_NUM_THREADS", str(count))


def _upwards(mount: Path, group: str) -> Iterator[Path]:
    """The group's folder and those above it: in a container only the last may be there."""
    path = PurePosixPath(group.lstrip("/"))
    for part in (path, *path.parents):
        yield mount / part


def _share_of_two(folder: Path) -> float | None:
    try:
        most, period = (folder / "cpu.max").read_text().split()
        return None if most == "max" else int(most) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None


def _share_of_one(folder: Path) -> float | None:
    try:
        most = int((folder / "cpu.cfs_quota_us").read_text())
        return most / int((folder / "cpu.cfs_period_us").read_text()) if most > 0 else None
    except (OSError, ValueError, ZeroDivisionError):
        return None
