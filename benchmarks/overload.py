"""More requests than the device can answer: `python -m benchmarks.overload`. Prints JSON.

A service as shipped with the network of the settings, but for its cache, which is off. First it
answers one caller, request after request: so much of the device a request takes, and so many a
second it can answer. Then callers, each with an address of its own, send `--times` as many at a
steady rate, and wait `--deadline` seconds each. Nothing is sent again.

useful_share: of the seconds from the first to the last answer, those that the device spent on
answers that arrived. The rest are lost, or the device had nothing to do. waited_in_vain: requests
that were 504, or were refused only after a second or more.
"""

import argparse
import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import cv2
import httpx2
import numpy as np

from docs.running import SERVE, serving

DEVICE_STAGES = ("trace", "guided", "occlusion")  # stages in which the device works
ALONE_REQUESTS = 6  # requests that are answered one after the other, after one that warms up
VAIN = 1.0  # seconds after which a refusal is no refusal at once


@dataclass
class OverloadOutcomes:
    """What the callers of one run saw, in seconds."""

    statuses: Counter[int] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    refused_after: list[float] = field(default_factory=list)
    retry_after: list[int] = field(default_factory=list)
    device: float = 0.0
    first: float = 0.0
    last: float = 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--url", help="a service that runs already, its cache off")
    parser.add_argument("--times", type=float, default=3.0, help="the load, of what it can answer")
    parser.add_argument("--seconds", type=float, default=120.0, help="that requests are sent")
    parser.add_argument("--deadline", type=float, default=60.0, help="seconds that callers wait")
    parser.add_argument("--callers", type=int, default=32)
    given = parser.parse_args()
    with _service_at(given.url) as url:
        figures = asyncio.run(
            overload(url, given.times, given.seconds, given.deadline, given.callers)
        )
    print(json.dumps(figures, indent=1))


async def overload(
    url: str, times: float, seconds: float, deadline: float, callers: int
) -> dict[str, Any]:
    async with httpx2.AsyncClient(base_url=url, timeout=deadline + 60) as client:
        alone = OverloadOutcomes()
        for number in range(ALONE_REQUESTS + 1):
            await _send(
                client, alone if number else OverloadOutcomes(), number, deadline, "10.0.0.1"
            )
        if alone.statuses[200] != ALONE_REQUESTS:
            raise SystemExit(f"one caller alone was answered {dict(alone.statuses)}")
        seconds_each = alone.device / ALONE_REQUESTS
        seen, rng = OverloadOutcomes(), random.Random(0)
        start = time.monotonic()
        sending = []
        for number in range(round(seconds * times / seconds_each)):
            await asyncio.sleep(max(0.0, start + number * seconds_each / times - time.monotonic()))
            caller = f"10.1.0.{rng.randrange(callers)}"
            sending.append(
                asyncio.create_task(
                    _send(client, seen, ALONE_REQUESTS + 1 + number, deadline, caller)
                )
            )
        await asyncio.gather(*sending)
    return _overload_figures(alone, seen, seconds_each) | {
        "times": times,
        "seconds": seconds,
        "deadline_s": deadline,
        "callers": callers,
    }


async def _send(
    client: httpx2.AsyncClient, seen: OverloadOutcomes, number: int, deadline: float, caller: str
) -> None:
    """A photograph of its own, by its number."""
    start = time.monotonic()
    answer = await client.post(
        "/detect",
        content=_numbered_jpeg(number),
        headers={
            "content-type": "image/jpeg",
            "x-request-timeout": f"{deadline:g}",
            "x-forwarded-for": caller,
        },
    )
    took = time.monotonic() - start
    seen.first, seen.last = seen.first or start, time.monotonic()
    seen.statuses[answer.status_code] += 1
    if answer.status_code == 200:
        seen.latencies.append(took)
        stages = answer.json()["timing_ms"]
        seen.device += sum(stages[stage] for stage in DEVICE_STAGES) / 1000
    elif answer.status_code == 429:
        seen.refused_after.append(took)
        seen.retry_after.append(int(answer.headers["retry-after"]))


def _numbered_jpeg(number: int) -> bytes:
    rng = np.random.default_rng(number)
    small = rng.integers(0, 255, (12, 16, 3), np.uint8)
    return bytes(cv2.imencode(".jpg", cv2.resize(small, (480, 360)))[1])


def _overload_figures(
    alone: OverloadOutcomes, seen: OverloadOutcomes, seconds_each: float
) -> dict[str, Any]:
    busy = seen.last - seen.first
    return {
        "device_s_alone": seconds_each,
        "latency_s_alone": float(np.median(alone.latencies)),
        "statuses": dict(sorted(seen.statuses.items())),
        "answers_per_second": seen.statuses[200] / busy,
        "of_the_device_alone": seen.statuses[200] / busy * seconds_each,
        "useful_share": seen.device / busy,
        "latency_s": _percentiles(seen.latencies),
        "refused_after_s": _percentiles(seen.refused_after),
        "retry_after_s": _percentiles(seen.retry_after),
        "waited_in_vain": seen.statuses[504] + sum(took >= VAIN for took in seen.refused_after),
    }


def _percentiles(values: list[Any]) -> dict[str, float] | None:
    if not values:
        return None
    return {f"p{share}": float(np.percentile(values, share)) for share in (50, 95, 100)}


@contextmanager
def _service_at(url: str | None) -> Iterator[str]:
    """The service in a process of its own, unless one runs already."""
    if url:
        yield url
        return
    with serving(*SERVE, quiet=True, PROXIES="127.0.0.1", CACHE_BYTES="0") as (address, _):
        yield address


if __name__ == "__main__":
    main()
