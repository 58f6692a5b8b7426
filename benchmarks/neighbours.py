"""What a busy neighbour costs: `python -m benchmarks.neighbours --images DIR`.

The default network, as a library, a command, a batch and a service: alone, beside another program
that keeps one core busy, twice at once, and with a CPU quota of one core, where a control group can
be made (root). Prints JSON; `python -m benchmarks.keep neighbours -- ...` records it.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path

import httpx2

from benchmarks.machine import busy_loop
from docs.running import serving

PERIOD = 100_000  # microseconds of a control group's CPU quota: all of one core
SCRIPT = """
import statistics, sys, time
from weakpoints import Weakpoints
weakpoints, files = Weakpoints(), [open(name, "rb").read() for name in sys.argv[1:]]
weakpoints.detect(files[0])  # plans, and compiles where it has to
print("ready", flush=True)
sys.stdin.readline()  # until all are ready
seconds = []
for data in files:
    start = time.perf_counter()
    weakpoints.detect(data)
    seconds.append(time.perf_counter() - start)
print(statistics.median(seconds))
"""
ServiceRun = Callable[[int], list[float]]  # so many at once; the seconds of each
Enter = Callable[[], None] | None  # called in a process before its program starts


def library(files: list[Path], enter: Enter, count: int) -> list[float]:
    """Median seconds of a detection in a script, its main thread."""
    command = [sys.executable, "-c", SCRIPT, *map(str, files)]
    running = [
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=enter
        )
        for _ in range(count)
    ]
    for process in running:
        assert process.stdout is not None
        process.stdout.readline()
    with ThreadPoolExecutor(count) as threads:
        outputs = list(threads.map(lambda process: process.communicate("go\n")[0], running))
    return [float(output) for output in outputs]


def commands(line: Callable[[int], list[str]], enter: Enter, count: int) -> list[float]:
    """Seconds of whole processes, from nothing to the end."""

    def seconds(number: int) -> float:
        start = time.perf_counter()
        subprocess.run(line(number), check=True, stdout=subprocess.DEVNULL, preexec_fn=enter)
        return time.perf_counter() - start

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(seconds, range(count)))


def service_rates(files: list[Path], enter: Enter, count: int) -> list[float]:
    """Median seconds of a request to `/detect`, one caller a service."""
    command = (sys.executable, "-m", "weakpoints", "serve")
    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(lambda _: _one_service(files, enter, command), range(count)))


def _one_service(files: list[Path], enter: Enter, command: tuple[str, ...]) -> float:
    seconds = []
    with serving(*command, enter=enter) as (address, _):
        for path in (files[0], *files):  # the first one plans
            start = time.perf_counter()
            httpx2.post(f"{address}/detect", content=path.read_bytes(), timeout=300)
            seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])


def interleaved(run: Callable[[Enter, int], list[float]], rounds: int) -> dict[str, object]:
    """Medians over the rounds; in each, every condition once."""
    conditions: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name, neighbour, count in (("alone", False, 1), ("loop", True, 1), ("two", False, 2)):
            with busy_loop() if neighbour else nullcontext():
                conditions.setdefault(name, []).append(statistics.mean(run(None, count)))
        with cpu_quota() as enter:
            if enter is not None:
                conditions.setdefault("quota_of_one_core", []).append(*run(enter, 1))
    alone = statistics.median(conditions["alone"])
    return {
        name: {
            "seconds": statistics.median(seconds),
            "times_alone": statistics.median(seconds) / alone,
            "all_seconds": seconds,
        }
        for name, seconds in conditions.items()
    }


@contextmanager
def cpu_quota() -> Iterator[Enter]:
    """What puts a process into a control group of one core; None where none can be made."""
    name = f"weakpoints-{os.getpid()}"
    for folder, files in (
        (Path("/sys/fs/cgroup") / name, {"cpu.max": f"{PERIOD} {PERIOD}"}),
        (
            Path("/sys/fs/cgroup/cpu") / name,
            {"cpu.cfs_period_us": f"{PERIOD}", "cpu.cfs_quota_us": f"{PERIOD}"},
        ),
    ):
        try:
            folder.mkdir()
            for file, value in files.items():
                with (folder / file).open("r+") as limit:  # the kernel's; else it is a mere folder
                    limit.write(value)
        except OSError:
            with suppress(OSError):
                folder.rmdir()
            continue
        try:
            yield partial(_move_into, folder / "cgroup.procs")
        finally:
            _remove(folder)
        return
    yield None


def _move_into(processes: Path) -> None:
    processes.write_text(str(os.getpid()))


def _remove(folder: Path) -> None:
    """As soon as its processes are gone."""
    for _ in range(100):
        with suppress(OSError):
            folder.rmdir()
            return
        time.sleep(0.1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, required=True, help="folder of photographs")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=["library", "command", "batch", "service"])
    arguments = parser.parse_args()
    files = sorted(path for path in arguments.images.rglob("*") if path.suffix == ".jpg")[:6]
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "photographs"
        source.mkdir()
        for path in files:
            (source / path.name).write_bytes(path.read_bytes())
        weakpoints, number = [sys.executable, "-m", "weakpoints"], iter(range(10**6))
        runs = {
            "library": partial(library, files),
            "command": partial(commands, lambda _: [*weakpoints, "detect", str(files[0])]),
            "batch": partial(
                commands,
                lambda _: [*weakpoints, "batch", str(source), "--out", f"{folder}/{next(number)}"],
            ),
            "service": partial(service_rates, files),
        }
        figures = {name: interleaved(runs[name], arguments.rounds) for name in arguments.only}
    print(json.dumps({"photographs": len(files), **figures}, indent=1))


if __name__ == "__main__":
    main()
