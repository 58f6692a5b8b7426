"""What the service costs on top of its device.

Callers on loopback, against a device that sleeps a known time an image.
"""

import asyncio
import multiprocessing
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from math import ceil
from multiprocessing.connection import Connection
from typing import Any

import cv2
import httpx2
import numpy as np
import torch
from numpy.typing import NDArray

from app.allocator import limit_malloc_arenas
from app.loading import loaded
from app.service.server import Server, load_and_freeze
from app.settings import Settings
from benchmarks.memory import status_bytes
from weakpoints.errors import WeakpointsError
from weakpoints.method.detector import Detector
from weakpoints.method.frame import frame_of
from weakpoints.method.localization import Localization
from weakpoints.method.stages import Evidence, NetworkPass, Prepared
from weakpoints.method.stopwatch import Stopwatch
from weakpoints.networks.network import Trace
from weakpoints.options import Options, choose
from weakpoints.progress import Progress, no_progress
from weakpoints_client import AsyncClient, Refused

CALLER_COUNTS = (1, 4, 16, 64)
START = 120.0  # seconds that the service may take to start
PAUSE = 0.05  # seconds after which a refused caller comes again: sooner than it was told to
PROBE_PAUSE = 0.02
NOTHING = torch.empty(0)


@dataclass(frozen=True)
class Sleeping(Detector):
    """A device that takes `seconds` for a photograph, more for more passes than the default's.

    It always finds the same on it, but for its size.
    """

    seconds: float = 0.0
    answer: Localization | None = None

    def prepare(
        self, image: NDArray[np.uint8], given: Options, clock: Stopwatch, maps: bool = True
    ) -> Prepared:
        frame = frame_of(image.shape[1], image.shape[0], self.input.side, "squash", None)
        return Prepared(NOTHING, frame, self.resolved(given), clock)

    def forward_backward(self, waiting: Sequence[Prepared]) -> list[NetworkPass]:
        return [NetworkPass(Trace(NOTHING, ()), (0,), np.empty(0)) for _ in waiting]

    def occlude(
        self, prepared: Prepared, seen: NetworkPass, progress: Progress = no_progress
    ) -> Evidence:
        default = self._resolved(Options())
        times = max(1.0, self._passes(prepared.options) / self._passes(default))
        for part in range(ceil(times)):
            time.sleep(self.seconds * min(1.0, times - part))
            progress("occlusion", part + 1, ceil(times))
        return Evidence((), (), np.empty(0), ())

    def explain(
        self, prepared: Prepared, evidence: Evidence, progress: Progress = no_progress
    ) -> Localization:
        assert self.answer is not None
        frame = prepared.frame
        return replace(self.answer, width=frame.width, height=frame.height, frame=frame)


@dataclass
class LoadRun:
    """What the callers of one run saw, in seconds."""

    answered: int = 0
    refused: int = 0
    mixed_up: int = 0
    seconds: float = 0.0
    lost: Counter[str] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    probes: list[float] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)


def service_load(settings: Settings, requests: int, device_ms: float) -> dict[str, Any]:
    """One object a number of callers, the engine alone in the same run beside it.

    Raises WeakpointsError if the service does not start.
    """
    with sleeping_service(settings, device_ms / 1000) as (port, pid):
        engine = _back_to_back(min(requests, 200), device_ms / 1000)
        runs = {
            callers: asyncio.run(_run_callers(port, pid, callers, requests))
            for callers in CALLER_COUNTS
        }
    return {
        "device_ms": device_ms,
        "requests": requests,
        "engine": engine,
        **{f"{n}_callers": _load_figures(run, engine) for n, run in runs.items()},
    }


@contextmanager
def sleeping_service(settings: Settings, seconds: float) -> Iterator[tuple[int, int]]:
    """The service in a process of its own, with a device that sleeps `seconds` for a photograph.

    Gives its port and its process. Raises WeakpointsError if it does not start.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    child = context.Process(target=_serve_in_child, args=(settings, seconds, there), daemon=True)
    child.start()
    try:
        port = here.recv() if here.poll(START) else None
        if port is None:
            raise WeakpointsError(f"the service did not start in {START:g} s")
        yield port, child.pid or 0
    finally:
        child.terminate()
        child.join()


def _serve_in_child(settings: Settings, seconds: float, pipe: Connection) -> None:
    limit_malloc_arenas()
    real = loaded(settings)
    answer = real.locate(
        np.zeros((64, 64, 3), np.uint8), choose(patch=real.model.side, stride=1, colours=1)
    )
    fake = Sleeping(real.occluder, real.model, real.input, seconds=seconds, answer=answer)
    server = Server(
        settings.model_copy(update={"host": "127.0.0.1", "port": 0, "cache_bytes": 0}),
        lambda: load_and_freeze(lambda: fake),
    )

    async def run() -> None:
        serving = asyncio.create_task(server.serve())
        while not server.started or not server.service.ready:
            await asyncio.sleep(0.01)
        pipe.send(server.servers[0].sockets[0].getsockname()[1])
        await serving

    asyncio.run(run())


def _back_to_back(count: int, seconds: float) -> dict[str, float]:
    start = time.perf_counter()
    for _ in range(count):
        time.sleep(seconds)
    seconds = (time.perf_counter() - start) / count
    return {"images_per_second": 1 / seconds, "ms_per_image": 1000 * seconds}


async def _run_callers(port: int, pid: int, callers: int, requests: int) -> LoadRun:
    run, left, url = LoadRun(), iter(range(requests)), f"http://127.0.0.1:{port}"
    async with AsyncClient(url) as client, httpx2.AsyncClient(base_url=url, timeout=60) as prober:
        probing = asyncio.create_task(probe_again(prober, run, pid))
        start = time.perf_counter()
        await asyncio.gather(*(_call(client, run, left) for _ in range(callers)))
        run.seconds = time.perf_counter() - start
        probing.cancel()
        await asyncio.gather(probing, return_exceptions=True)
    return run


async def _call(client: AsyncClient, run: LoadRun, left: Iterator[int]) -> None:
    """One caller: each of its photographs has a size of its own, by which its answer is known."""
    for number in left:
        width, height = 64 + number % 97, 64 + number % 89
        data = cv2.imencode(".png", np.zeros((height, width, 3), np.uint8))[1].tobytes()
        while True:
            start = time.perf_counter()
            try:
                detection = await client.detect(data, tries=1)
            except httpx2.HTTPError as error:
                run.lost[type(error).__name__] += 1
                break
            except Refused as refused:
                if refused.status != 429:
                    run.lost[str(refused.status)] += 1
                    break
                run.refused += 1
                await asyncio.sleep(PAUSE)
                continue
            run.latencies.append(time.perf_counter() - start)
            run.answered += 1
            run.mixed_up += (detection.image.width, detection.image.height) != (width, height)
            break


async def probe_again(client: httpx2.AsyncClient, run: LoadRun, pid: int) -> None:
    """Asks `/livez` again and again, and notes the memory of the process."""
    while True:
        start = time.perf_counter()
        (await client.get("/livez")).raise_for_status()
        run.probes.append(time.perf_counter() - start)
        run.memory.append(status_bytes(pid, "VmRSS") or 0)
        await asyncio.sleep(PROBE_PAUSE)


def _load_figures(run: LoadRun, engine: dict[str, float]) -> dict[str, Any]:
    latencies, probes, third = (
        np.array(run.latencies) * 1000,
        np.array(run.probes) * 1000,
        max(1, len(run.memory) // 3),
    )
    rate = run.answered / run.seconds
    return {
        "images_per_second": rate,
        "of_the_engine": rate / engine["images_per_second"],
        "answered": run.answered,
        "refused": run.refused,
        "mixed_up": run.mixed_up,
        "lost": dict(run.lost),
        "latency_ms": {
            "p50": float(np.percentile(latencies, 50)),
            "p99": float(np.percentile(latencies, 99)),
        },
        "on_top_ms": float(np.percentile(latencies, 50)) - engine["ms_per_image"],
        "livez_ms": {
            "p50": float(np.percentile(probes, 50)),
            "p99": float(np.percentile(probes, 99)),
        },
        "memory_growth_bytes": int(np.median(run.memory[-third:]) - np.median(run.memory[:third])),
    }
