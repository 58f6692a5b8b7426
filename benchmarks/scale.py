"""What more workers of a Ray cluster on this machine bring.

Against a device that sleeps, and with the network itself.
"""

import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import cv2
import httpx2
import numpy as np
from numpy.typing import NDArray

from app.batch.collection import Collection, open_collection
from app.batch.run import plain, run_batch
from app.cluster.start import Share, connected
from app.loading import loaded
from app.settings import Settings
from benchmarks.load import Sleeping
from weakpoints.errors import WeakpointsError
from weakpoints.method.detector import Detector
from weakpoints.method.localization import Localization
from weakpoints.options import Options, choose
from weakpoints.progress import Progress, no_progress

WORKERS = (1, 2, 4)
CALLERS_PER_WORKER = 4  # for each worker: more than it needs to be busy
LOAD = 0.7  # of what the workers can do: the rate at which latency is measured
SCALE_PORT = 8480


@dataclass
class ScaleOutcomes:
    """What callers saw, in seconds."""

    seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)


def scale_figures(
    settings: Settings, photographs: Collection, device_ms: float, count: int
) -> dict[str, Any]:
    """Photographs a second of the service and of a collection.

    First `count` a worker by the device that sleeps, then all photographs by the network. Ray gives
    each worker of the network one core.
    """
    with connected(num_cpus=2 * max(WORKERS), include_dashboard=False, log_to_driver=False):
        figures = _by_workers(settings, photographs, device_ms / 1000, count)
    figures |= {"network_plain": _plain_figures(loaded(settings), photographs)}
    return {
        "device_ms": device_ms,
        "count": count,
        "photographs": len(photographs.names),
        "load": LOAD,
        **_with_efficiency(figures),
    }


def _by_workers(
    settings: Settings, photographs: Collection, device: float, count: int
) -> dict[str, Any]:
    from app.cluster.serving import running

    figures: dict[str, Any] = {}
    service = settings.model_copy(update={"port": SCALE_PORT, "cache_bytes": 0})
    sleeping, network = partial(asleep, settings, device), partial(loaded, settings)
    for workers in WORKERS:
        with pictures(count * workers) as made:
            with running(service, Share(workers, 0.5), sleeping):
                figures[f"sleeping_service_{workers}"] = _service_figures(made, workers, device)
            figures[f"sleeping_collection_{workers}"] = _collection_figures(
                made, Share(workers), sleeping
            )
    for workers in WORKERS[:2]:
        with running(service, Share(workers), network):
            outcomes = asyncio.run(_closed(photographs, CALLERS_PER_WORKER * workers))
        figures[f"network_service_{workers}"] = {
            "images_per_second": len(photographs.names) / outcomes.seconds,
            **_statuses(outcomes),
        }
        figures[f"network_collection_{workers}"] = _collection_figures(
            photographs, Share(workers), network
        )
    return figures


def asleep(settings: Settings, seconds: float) -> Detector:
    real = loaded(settings)
    answer = real.locate(
        np.zeros((64, 64, 3), np.uint8), choose(patch=real.model.side, stride=1, colours=1)
    )
    return Sleeping(real.occluder, real.model, real.input, seconds=seconds, answer=answer)


@contextmanager
def pictures(count: int) -> Iterator[Collection]:
    with tempfile.TemporaryDirectory() as folder:
        for i in range(count):
            cv2.imwrite(f"{folder}/{i:05}.png", np.zeros((64 + i % 97, 64 + i % 89, 3), np.uint8))
        yield open_collection(folder)


def _service_figures(made: Collection, workers: int, device: float) -> dict[str, Any]:
    """The service at its fullest, then at LOAD with callers that come at random."""
    full = asyncio.run(_closed(made, CALLERS_PER_WORKER * workers))
    rate = LOAD * workers / device
    calm = asyncio.run(_open(made, rate))
    return {
        "images_per_second": len(made.names) / full.seconds,
        **_statuses(full),
        "at_load": {
            "rate": rate,
            **_statuses(calm),
            "p95_s": float(np.percentile(calm.latencies, 95)),
            "mean_s": float(np.mean(calm.latencies)),
        },
    }


def _collection_figures(
    photographs: Collection, share: Share, load: Callable[[], Detector]
) -> dict[str, Any]:
    """Seconds until its first row and its last, and photographs a second while every worker works.

    The rate is of the workers' own clocks, for rows come back in bursts. It is the sum of theirs,
    each by its intervals from when the last worker has begun until the first has ended.
    """
    from app.cluster.data import on_ray

    with tempfile.TemporaryDirectory() as folder:
        engine = on_ray(
            partial(stamped, load, folder), share, photographs.reader, choose(), Settings().limits
        )
        start, times = time.perf_counter(), []
        for _ in engine(photographs.names):
            times.append(time.perf_counter() - start)
        workers = [
            [float(line) for line in path.read_text().split()] for path in Path(folder).iterdir()
        ]
    begun, ended = max(times[0] for times in workers), min(times[-1] for times in workers)
    if len(workers) < share.workers or ended <= begun:
        raise WeakpointsError(
            f"{len(photographs.names)} photographs are too few "
            f"for {share.workers} workers to work at the same time"
        )
    together = [[moment for moment in times if begun <= moment <= ended] for times in workers]
    rate = sum((len(times) - 1) / max(times[-1] - times[0], 1e-9) for times in together if times)
    return {"images_per_second": rate, "start_s": times[0], "total_s": times[-1]}


@dataclass(frozen=True, kw_only=True)
class Stamped(Detector):
    """Another detector, which writes down in a file of its own when each photograph was done."""

    inner: Detector
    file: Path

    def locate(
        self, image: NDArray[np.uint8], options: Options, progress: Progress = no_progress
    ) -> Localization:
        localization = self.inner.locate(image, options, progress)
        with self.file.open("a") as file:
            file.write(f"{time.monotonic()}\n")  # one clock for all processes of a machine
        return localization


def stamped(load: Callable[[], Detector], folder: str) -> Detector:
    made = load()
    return Stamped(
        made.occluder, made.model, made.input, inner=made, file=Path(folder) / uuid4().hex
    )


def _plain_figures(detector: Detector, photographs: Collection) -> dict[str, Any]:
    """Here, with every core; and how large the files are that a batch leaves."""
    engine, start = (
        plain(detector, photographs.reader, choose(), Settings().limits),
        time.perf_counter(),
    )
    with tempfile.TemporaryDirectory() as name:
        out = Path(name)
        run_batch(
            engine,
            detector.model,
            choose(),
            photographs,
            out,
            resume=False,
            progress=lambda lines, total: lines,
        )
        seconds, count = time.perf_counter() - start, len(photographs.names)
        sizes = {path.name: path.stat().st_size / count for path in sorted(out.iterdir())}
    return {"images_per_second": count / seconds, "bytes_per_image": sizes}


async def _closed(photographs: Collection, callers: int) -> ScaleOutcomes:
    """Callers that ask one after the other."""
    outcomes, left, start = ScaleOutcomes(), iter(photographs.names), time.perf_counter()

    async def call(client: httpx2.AsyncClient) -> None:
        for name in left:
            await _ask(client, photographs, name, outcomes)

    async with _client() as client:
        await asyncio.gather(*(call(client) for _ in range(callers)))
    outcomes.seconds = time.perf_counter() - start
    return outcomes


async def _open(photographs: Collection, rate: float) -> ScaleOutcomes:
    """Callers that come at random, so many a second, whether others wait or not."""
    outcomes, gaps = (
        ScaleOutcomes(),
        np.random.default_rng(0).exponential(1 / rate, len(photographs.names)),
    )
    loop, due, calls = asyncio.get_running_loop(), np.cumsum(gaps), []
    async with _client() as client:
        start = loop.time()
        for name, moment in zip(photographs.names, due, strict=True):
            await asyncio.sleep(start + moment - loop.time())
            calls.append(asyncio.create_task(_ask(client, photographs, name, outcomes)))
        await asyncio.gather(*calls)
    return outcomes


async def _ask(
    client: httpx2.AsyncClient, photographs: Collection, name: str, outcomes: ScaleOutcomes
) -> None:
    data, start = photographs.reader.read(name, 2**30), time.perf_counter()
    answer = await client.post("/detect", content=data, headers={"content-type": "image/png"})
    outcomes.latencies.append(time.perf_counter() - start)
    outcomes.statuses[answer.status_code] += 1


def _client() -> httpx2.AsyncClient:
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
    return httpx2.AsyncClient(base_url=f"http://127.0.0.1:{SCALE_PORT}", timeout=300, limits=limits)


def _statuses(outcomes: ScaleOutcomes) -> dict[str, Any]:
    return {"statuses": {str(status): count for status, count in sorted(outcomes.statuses.items())}}


def _with_efficiency(figures: dict[str, Any]) -> dict[str, Any]:
    """Each rate against that of so many workers that are each as quick as one alone."""
    for what in (
        "sleeping_service",
        "sleeping_collection",
        "network_service",
        "network_collection",
    ):
        alone = figures[f"{what}_1"]["images_per_second"]
        for workers in WORKERS:
            if of_all := figures.get(f"{what}_{workers}"):
                of_all["efficiency"] = of_all["images_per_second"] / (workers * alone)
    return figures
