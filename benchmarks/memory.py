"""The memory of a process and of all that it started, as Linux counts it."""

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")
IN_MEMORY = "/memfd:"  # what a file without a name in any folder is called
STAT_BLOCK = 512  # bytes of st_blocks' unit


def status_bytes(pid: int | str, field: str) -> int | None:
    """Of a process ("self": this one), VmRSS: resident now, or VmHWM: the most since it was reset.

    None where there is no such process, and on systems without /proc.
    """
    try:
        status = (PROC / str(pid) / "status").read_text()
    except OSError:
        return None
    sizes = (line.split() for line in status.splitlines() if line.startswith(f"{field}:"))
    return next((int(words[1]) * 1024 for words in sizes), None)


def reset_process_peak(pid: int | str) -> None:
    """VmHWM begins anew, where there is /proc."""
    clear = PROC / str(pid) / "clear_refs"
    if clear.exists():
        clear.write_text("5")


def tree_memory(pid: int) -> int:
    """Bytes of a process and of all that it started."""
    return memory_of_processes(tree(pid))


def memory_of_processes(processes: Iterable[int]) -> int:
    """Bytes: each page is counted once, though several processes share it, and files in memory too,
    which no process has mapped.
    """
    total, files = 0, dict[tuple[int, int], int]()
    for process in processes:
        with suppress(OSError):  # it ended meanwhile
            total += _proportional(process)
            files.update(_in_memory(process))
    return total + sum(files.values())


def tree(pid: int) -> Iterator[int]:
    """The process, its children, theirs, and so on."""
    yield pid
    with suppress(OSError):
        for thread in (PROC / str(pid) / "task").iterdir():
            for child in (thread / "children").read_text().split():
                yield from tree(int(child))


def _proportional(pid: int) -> int:
    lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def _in_memory(pid: int) -> Iterator[tuple[tuple[int, int], int]]:
    """Each file in memory that is open, and its bytes."""
    for link in (PROC / str(pid) / "fd").iterdir():
        with suppress(OSError):
            if os.readlink(link).startswith(IN_MEMORY):
                status = link.stat()
                yield (status.st_dev, status.st_ino), status.st_blocks * STAT_BLOCK
