"""Several photographs, and several classes, in one request: `python -m benchmarks.several --images
DIR`.

A service in a process of its own, with the network of the settings and without a cache. In each
round sixteen callers send a photograph each, and then one caller sends the same sixteen together;
and one photograph is explained for one class, and then for three. Prints JSON, for
`python -m benchmarks.keep several -- ...`.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.memory import reset_process_peak, status_bytes
from docs.running import SERVE, serving
from weakpoints.evaluation.photographs import sample
from weakpoints_client import Client, Detection

COUNT, CLASSES = 16, 3
WAIT = 600.0  # seconds for an answer
Comparison = dict[str, Any]


@contextmanager
def served(port: int) -> Iterator[tuple[Client, int]]:
    """The service, ready, and its process's number."""
    wait = str(WAIT)
    with (
        serving(*SERVE, port=port, quiet=True, CACHE_BYTES="0", REQUEST_TIMEOUT=wait) as started,
        Client(started[0]) as client,
    ):
        yield client, started[1]


def peak(pid: int, run: Callable[[], object]) -> tuple[float, int]:
    """Seconds of a run, and the most bytes that the process had resident in it (Linux)."""
    reset_process_peak(pid)
    start = time.perf_counter()
    run()
    seconds = time.perf_counter() - start
    return seconds, status_bytes(pid, "VmHWM") or 0


def peaks_compared(pid: int, rounds: int, runs: dict[str, Callable[[], object]]) -> Comparison:
    """Medians of what the runs take, in turn, and how the second compares with the first."""
    taken = [[peak(pid, run) for run in runs.values()] for _ in range(rounds)]
    figures: Comparison = {
        name: {
            "seconds": statistics.median(result[i][0] for result in taken),
            "peak_memory_bytes": max(result[i][1] for result in taken),
        }
        for i, name in enumerate(runs)
    }
    ratios = [second[0] / first[0] for first, second in taken]
    return figures | {"ratio": statistics.median(ratios), "ratios": ratios}


def compare_photographs(client: Client, pid: int, paths: Sequence[Path], rounds: int) -> Comparison:
    files = [path.read_bytes() for path in paths]

    def alone() -> None:
        with ThreadPoolExecutor(COUNT) as pool:
            list(pool.map(lambda file: client.detect(file, seconds=WAIT), files))

    def together() -> None:
        results = client.detect_many(files, seconds=WAIT)
        assert all(isinstance(result, Detection) for result in results)

    return peaks_compared(pid, rounds, {"sixteen_callers": alone, "one_request": together})


def classes(client: Client, pid: int, path: Path, rounds: int) -> Comparison:
    file = path.read_bytes()
    ranking = [top.class_id for top in client.detect(file, seconds=WAIT).prediction.top]

    def of(count: int) -> Callable[[], object]:
        return lambda: client.detect(file, seconds=WAIT, target_class=ranking[:count])

    return peaks_compared(pid, rounds, {"one_class": of(1), "three_classes": of(CLASSES)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--port", type=int, default=8017)
    args = parser.parse_args()
    paths = sample(args.images, COUNT)
    with served(args.port) as (client, pid):
        client.detect(paths[0].read_bytes(), seconds=WAIT)
        figures = {
            "network": client.model().name,
            "photographs": compare_photographs(client, pid, paths, args.rounds),
            "classes": classes(client, pid, paths[0], 3 * args.rounds),
        }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
