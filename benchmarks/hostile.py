"""Ordinary callers beside hostile ones: `python -m benchmarks.hostile`. Prints JSON.

The service as shipped, but for its device, which sleeps 10 ms a photograph with default options and
else in proportion to its passes, and for its cache, which is off: photographs come again here.

Ordinary callers send photographs of a sixth of a megapixel at a fixed rate, first alone, then with
the hostile ones beside them. So the ordinary load is the same in both, however slow the service
becomes. A latency counts from when the request was due, so that a caller who is kept waiting does
not hide what it would have sent meanwhile; what is refused with 429 is sent again, and that counts
too. Hostile callers send a fixed rate as well, for as long: one request to four ordinary ones.
Each caller has an address of its own.

Ordinary callers, hostile ones, and the probe with the memory are three processes, so that none of
them waits for the other. Each probe is a connection of its own. They share the processors with the
service: latencies are what is seen on a machine that is busy with both. Memory is of the service
and its children. Before and after, it is taken at rest.
"""

import argparse
import asyncio
import io
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from multiprocessing import get_context
from typing import Any

import httpx2
import numpy as np
from PIL import Image

from app.settings import Settings
from benchmarks.attacks import attacks
from benchmarks.load import PAUSE, sleeping_service
from benchmarks.watching import Watched, at_rest, watch

ORDINARY, HOSTILE = 52, 12  # callers
DEVICE_SECONDS = 0.01  # seconds
RATE = 40.0  # ordinary photographs a second
BURST = 3  # times that rate come to warm up
LAST = 40.0  # seconds that a hostile request may take


@dataclass
class Ordinary:
    """What ordinary callers saw, in seconds."""

    latencies: list[float] = field(default_factory=list)
    refused: int = 0
    wrong: int = 0
    lost: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Schedule:
    """Requests by number, each due at its time on time.monotonic's clock."""

    start: float
    rate: float
    count: int

    def of(self, caller: int, callers: int) -> Iterator[tuple[int, float]]:
        """This caller's, in turn with all others."""
        for n in range(caller, self.count, callers):
            yield n, self.start + n / self.rate


async def until(moment: float) -> None:
    await asyncio.sleep(max(0.0, moment - time.monotonic()))


@cache
def known_photographs() -> list[tuple[tuple[int, int], bytes]]:
    """Sizes, by which answers are known, and files: more than there are callers."""
    return [((440 + n, 330 + n), textured_jpeg(440 + n, 330 + n, n)) for n in range(97)]


def textured_jpeg(width: int, height: int, seed: int) -> bytes:
    coarse = np.random.default_rng(seed).integers(0, 255, (24, 32, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).save(buffer, "JPEG")
    return buffer.getvalue()


def ordinary(port: int, pace: Schedule) -> Ordinary:
    async def all_of_them() -> None:
        await asyncio.gather(*(ask(port, n, pace, seen) for n in range(ORDINARY)))

    seen = Ordinary()
    asyncio.run(all_of_them())
    return seen


async def ask(port: int, caller: int, pace: Schedule, seen: Ordinary) -> None:
    transport = httpx2.AsyncHTTPTransport(local_address=f"127.0.2.{1 + caller}")
    async with httpx2.AsyncClient(
        transport=transport, base_url=f"http://127.0.0.1:{port}", timeout=60
    ) as client:
        for n, due in pace.of(caller, ORDINARY):
            size, body = known_photographs()[n % len(known_photographs())]
            await until(due)
            answer = await post_ordinary(client, body, seen)
            if answer is None:
                continue
            image_size = answer.json()["image"]
            seen.wrong += (image_size["width"], image_size["height"]) != size
            seen.latencies.append(time.monotonic() - due)


async def post_ordinary(
    client: httpx2.AsyncClient, body: bytes, seen: Ordinary
) -> httpx2.Response | None:
    """What is refused for want of room is sent again; None where it is lost."""
    while True:
        try:
            answer = await client.post("/detect", content=body)
        except httpx2.HTTPError as error:
            seen.lost[type(error).__name__] += 1
            return None
        if answer.status_code == 200:
            return answer
        if answer.status_code != 429:
            seen.lost[str(answer.status_code)] += 1
            return None
        seen.refused += 1
        await asyncio.sleep(PAUSE)


def hostile(port: int, pace: Schedule) -> tuple[dict[str, Counter[str]], float]:
    """The answers to each attack by status, and the seconds that the last one began too late."""

    async def all_of_them() -> list[float]:
        return await asyncio.gather(*(attack(port, n, pace, seen) for n in range(HOSTILE)))

    seen: dict[str, Counter[str]] = {name: Counter() for name in attacks()}
    return seen, max(asyncio.run(all_of_them()))


async def attack(port: int, caller: int, pace: Schedule, seen: dict[str, Counter[str]]) -> float:
    names, late = list(attacks()), 0.0
    for n, due in pace.of(caller, HOSTILE):
        name = names[n % len(names)]
        await until(due)
        late = time.monotonic() - due
        seen[name][await outcome(port, caller, name)] += 1
    return late


async def outcome(port: int, caller: int, name: str) -> str:
    address = (f"127.0.1.{1 + caller}", 0)
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=address)
    except OSError:
        return "no connection"
    try:
        async with asyncio.timeout(LAST):
            return await attacks()[name](reader, writer)
    except TimeoutError:
        return f"nothing in {LAST:g} s"
    except (OSError, asyncio.IncompleteReadError):
        return "closed"
    finally:
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()


def made_ready() -> int:
    return len(attacks())


def phase(
    pools: Sequence[ProcessPoolExecutor],
    port: int,
    pid: int,
    ordinary_pace: Schedule,
    hostile_pace: Schedule,
) -> dict[str, Any]:
    ordinary_run = pools[0].submit(ordinary, port, ordinary_pace)
    hostile_run = pools[1].submit(hostile, port, hostile_pace)
    watched = watch(port, pid, [ordinary_run, hostile_run])
    seconds = time.monotonic() - ordinary_pace.start
    ordinary_seen, (attacked, late) = ordinary_run.result(), hostile_run.result()
    return summary_of(ordinary_seen, watched) | {
        "seconds": seconds,
        "hostile": {name: dict(count) for name, count in attacked.items() if count},
        "hostile_5xx": sum(
            number
            for count in attacked.values()
            for status, number in count.items()
            if status.startswith("5")
        ),
        "hostile_late_s": late,
    }


def summary_of(seen: Ordinary, watched: Watched) -> dict[str, Any]:
    latencies, probes = 1000 * np.array(seen.latencies), 1000 * np.array(watched.probes)
    return {
        "ordinary": len(latencies),
        "refused_and_sent_again": seen.refused,
        "wrong": seen.wrong,
        "lost": dict(seen.lost),
        "p50_ms": float(np.percentile(latencies, 50)),
        "p95_ms": float(np.percentile(latencies, 95)),
        "p99_ms": float(np.percentile(latencies, 99)),
        "livez": len(probes),
        "livez_failed": dict(watched.failed),
        "livez_p99_ms": float(np.percentile(probes, 99)),
        "livez_max_ms": float(probes.max()),
        "memory_highest_bytes": max(watched.memory),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=10_000, help="a fifth of them hostile")
    parser.add_argument("--rate", type=float, default=RATE, help="ordinary ones a second")
    arguments = parser.parse_args()
    print(json.dumps(hostile_mix(arguments.requests, arguments.rate), indent=1))


def hostile_mix(requests: int, rate: float) -> dict[str, Any]:
    ordinary, hostile = requests * 4 // 5, requests // 5
    with (
        sleeping_service(Settings(network="bundled"), DEVICE_SECONDS) as (port, pid),
        ProcessPoolExecutor(1, get_context("spawn")) as senders,
        ProcessPoolExecutor(1, get_context("spawn")) as attackers,
    ):

        def run(ordinary: int, hostile: int, rate: float = rate) -> dict[str, Any]:
            start = time.monotonic() + 1
            paces = Schedule(start, rate, ordinary), Schedule(start, rate / 4, hostile)
            return phase((senders, attackers), port, pid, *paces)

        for made in (senders.submit(known_photographs), attackers.submit(made_ready)):
            made.result()  # pictures are encoded before the clock starts
        run(ordinary // 10, 0, BURST * rate)  # to warm up, all that decodes too
        alone, before = run(ordinary, 0), at_rest(pid)
        beside, after = run(ordinary, hostile), at_rest(pid)
    return {
        "callers": {"ordinary": ORDINARY, "hostile": HOSTILE},
        "device_ms": 1000 * DEVICE_SECONDS,
        "ordinary_a_second": rate,
        "alone": alone,
        "beside": beside,
        "p95_ratio": beside["p95_ms"] / alone["p95_ms"],
        "memory_before_bytes": before,
        "memory_after_bytes": after,
        "memory_growth": after / before - 1,
    }


if __name__ == "__main__":
    main()
