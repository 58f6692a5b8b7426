"""What a probe sees of a service while others use it: whether it lives, and its memory."""

import http.client
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from benchmarks.memory import tree_memory

REST = 6.0  # seconds after which children are idle and every deadline of an upload is over
PROBE_INTERVAL = 0.02  # seconds between probes
PROBES_PER_LOOK = 10  # for each look at the memory, which costs milliseconds


@dataclass
class Watched:
    """What the probe saw meanwhile: seconds, bytes, and failures by kind."""

    probes: list[float] = field(default_factory=list)
    failed: Counter[str] = field(default_factory=Counter)
    memory: list[int] = field(default_factory=list)


def watch(port: int, pid: int, working: Sequence[Future[Any]]) -> Watched:
    seen, round = Watched(), 0
    while not all(task.done() for task in working):
        start = time.monotonic()
        if failed := probe_outcome(port):
            seen.failed[failed] += 1
        seen.probes.append(time.monotonic() - start)
        if round % PROBES_PER_LOOK == 0:
            seen.memory.append(tree_memory(pid))
        round += 1
        time.sleep(PROBE_INTERVAL)
    return seen


def probe_outcome(port: int) -> str:
    """Empty where it is answered 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", "/livez")
        status = connection.getresponse().status
        return "" if status == 200 else str(status)
    except OSError as error:
        return type(error).__name__
    finally:
        connection.close()


def at_rest(pid: int) -> int:
    time.sleep(REST)
    looks = []
    for _ in range(5):
        looks.append(tree_memory(pid))
        time.sleep(0.2)
    return int(statistics.median(looks))
