"""Ordinary callers beside hostile ones: `python -m benchmarks.hostile`. Prints JSON.

The service as shipped, with a device that sleeps 5 ms a photograph, first with the ordinary callers
alone, then with the hostile ones beside them. Each caller has an address of its own.
"""

import argparse
import asyncio
import io
import json
import random
import struct
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Any

import httpx2
import numpy as np
from PIL import Image

from app.performance.load import PAUSE, Run, probe, sleeping_service
from app.settings import Settings

ORDINARY, HOSTILE = 52, 12  # callers
DEVICE = 0.005  # seconds
LAST = 40.0  # seconds that a hostile request may take
Hostile = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def picture(kind: str, width: int, height: int, **options: Any) -> bytes:
    """An even one, tiny as a file."""
    buffer = io.BytesIO()
    Image.new("L", (width, height), 90).save(buffer, kind, **options)
    return buffer.getvalue()


SMALL = picture("JPEG", 64, 64)
LARGE = {  # as many pixels as are allowed
    kind: picture(kind, 7000, 7000, **options)
    for kind, options in {
        "PNG": {},
        "JPEG": {},
        "GIF": {},
        "TIFF": {"compression": "tiff_deflate"},
    }.items()
}
PROGRESSIVE = picture("JPEG", 4000, 4000, progressive=True)


def head(length: int | None, path: str = "/detect") -> bytes:
    framing = "transfer-encoding: chunked" if length is None else f"content-length: {length}"
    lines = (f"POST {path} HTTP/1.1", "host: x", "content-type: image/jpeg", framing, "", "")
    return "\r\n".join(lines).encode()


def claims(data: bytes) -> bytes:
    """A PNG whose header says 60,000 x 60,000."""
    return data[:16] + struct.pack(">II", 60_000, 60_000) + data[24:]


def two_headers(data: bytes) -> bytes:
    """A JPEG with a second frame header, of another size."""
    at = data.index(b"\xff\xc0")
    end = at + 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]
    other = data[at : at + 5] + struct.pack(">HH", 12_000, 12_000) + data[at + 9 : end]
    return data[:end] + other + data[end:]


def many_scans(data: bytes) -> bytes:
    return data[:-2] + data[data.rindex(b"\xff\xc4") : -2] * 200 + data[-2:]


def sent(body: bytes, path: str = "/detect") -> Hostile:
    async def go(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head(len(body), path) + body)
        await reader.readuntil(b"\r\n")

    return go


async def stalled(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(head(1_000_000) + SMALL)
    await reader.readuntil(b"\r\n")


async def byte_by_byte(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    body = b"".join(b"1\r\n" + SMALL[i % len(SMALL) :][:1] + b"\r\n" for i in range(20_000))
    writer.write(head(None) + body + b"0\r\n\r\n")
    await reader.readuntil(b"\r\n")


async def unread(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    request = head(len(SMALL), "/heatmap?style=gray16&size=image") + SMALL
    writer.write(request * 20)
    await asyncio.sleep(3)


async def hung_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(head(len(SMALL)) + SMALL)
    await asyncio.sleep(random.uniform(0, 0.02))


ATTACKS: dict[str, Hostile] = {
    **{f"large {kind}": sent(data) for kind, data in LARGE.items()},
    "claims": sent(claims(picture("PNG", 64, 64))),
    "two headers": sent(two_headers(SMALL)),
    "many scans": sent(many_scans(PROGRESSIVE)),
    "garbage": sent(random.Random(0).randbytes(100_000)),
    "dear": sent(SMALL, "/detect?stride=1&patch=56&colours=6"),
    "stalled": stalled,
    "byte by byte": byte_by_byte,
    "unread": unread,
    "hung up": hung_up,
}


async def attack(port: int, number: int, left: Iterator[int], seen: Counter[str]) -> None:
    names = list(ATTACKS)
    for n in left:
        name = names[n % len(names)]
        address = (f"127.0.1.{1 + number}", 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=address)
        with suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
            async with asyncio.timeout(LAST):
                await ATTACKS[name](reader, writer)
        seen[name] += 1
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def ask(port: int, number: int, left: Iterator[int], run: Run) -> None:
    """An ordinary caller: what is refused for want of room is sent again."""
    transport = httpx2.AsyncHTTPTransport(local_address=f"127.0.2.{1 + number}")
    async with httpx2.AsyncClient(
        transport=transport, base_url=f"http://127.0.0.1:{port}", timeout=60
    ) as client:
        for n in left:
            size, answer = (64 + n % 97, 64 + n % 89), None
            body, start = picture("PNG", *size), time.perf_counter()
            while answer is None or answer.status_code == 429:
                run.refused += answer is not None
                await asyncio.sleep(PAUSE if answer else 0)
                answer = await client.post("/detect", content=body)
            if answer.status_code != 200:
                run.lost[str(answer.status_code)] += 1
                continue
            found = answer.json()["image"]
            run.answered += 1
            run.mixed_up += (found["width"], found["height"]) != size
            run.latencies.append(time.perf_counter() - start)


async def phase(port: int, pid: int, ordinary: int, hostile: int) -> tuple[Run, Counter[str]]:
    run, seen, url = Run(), Counter[str](), f"http://127.0.0.1:{port}"
    left, attacks = iter(range(ordinary)), iter(range(hostile))
    async with httpx2.AsyncClient(base_url=url, timeout=60) as prober:
        probing = asyncio.create_task(probe(prober, run, pid))
        start = time.perf_counter()
        await asyncio.gather(
            *(ask(port, n, left, run) for n in range(ORDINARY)),
            *(attack(port, n, attacks, seen) for n in range(HOSTILE)),
        )
        run.seconds = time.perf_counter() - start
        probing.cancel()
        await asyncio.gather(probing, return_exceptions=True)
    return run, seen


def figures(run: Run, seen: Counter[str]) -> dict[str, Any]:
    latencies, probes = np.array(run.latencies), np.array(run.probes)
    return {
        "ordinary": run.answered,
        "hostile": dict(seen),
        "refused_and_sent_again": run.refused,
        "wrong": run.mixed_up,
        "lost": dict(run.lost),
        "seconds": run.seconds,
        "p50_ms": 1000 * float(np.percentile(latencies, 50)),
        "p95_ms": 1000 * float(np.percentile(latencies, 95)),
        "livez_p99_ms": 1000 * float(np.percentile(probes, 99)),
        "livez_max_ms": 1000 * float(probes.max()),
        "memory_highest_bytes": max(run.memory),
        "memory_last_bytes": run.memory[-1],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000, help="a fifth of them hostile")
    asked = parser.parse_args()
    ordinary, hostile = asked.requests * 4 // 5, asked.requests // 5
    settings = Settings(network="bundled")
    with sleeping_service(settings, DEVICE) as (port, pid):
        asyncio.run(phase(port, pid, ordinary // 10, 0))  # to warm up
        alone = figures(*asyncio.run(phase(port, pid, ordinary, 0)))
        beside = figures(*asyncio.run(phase(port, pid, ordinary, hostile)))
    ratio = beside["p95_ms"] / alone["p95_ms"]
    print(json.dumps({"alone": alone, "beside": beside, "p95_ratio": ratio}, indent=1))


if __name__ == "__main__":
    main()
