"""What the routes share: loaded once, in the background, so that the probes can say so meanwhile."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil

import anyio
import numpy as np
from anyio.to_thread import run_sync
from numpy.typing import NDArray

from app.cache import Cache, key
from app.errors import QueueFull, Unavailable
from app.image import decode
from app.keys import Keys
from app.metrics import Metrics
from app.options import Options, choose
from app.pipeline import Detector, Localization, Progress, silent
from app.settings import Settings
from app.worker import Done, Worker

log = logging.getLogger("weakpoints")
LAST = 5.0  # seconds that closing may take once every request has been answered or given up
LOADING = 5  # seconds after which a caller may ask again


@dataclass
class Service:
    """`stop` ends the process: called when the network can't be loaded, or the device is lost."""

    settings: Settings
    stop: Callable[[], None]
    metrics: Metrics = field(default_factory=Metrics)
    started: bool = False
    draining: bool = False
    waited: float = 0.0  # seconds that the last request waited for the device
    _detector: Detector | None = None
    _worker: Worker | None = None

    def __post_init__(self) -> None:
        self.keys = Keys(self.settings.api_keys)
        self._cache = Cache(self.settings.cache_bytes)
        self.decoders = anyio.CapacityLimiter(self.settings.decoders)
        self.uploads = anyio.CapacityLimiter(self.settings.uploads)
        self.metrics.waiting.set_function(lambda: self._worker.waiting if self._worker else 0)
        self.metrics.ready.set_function(lambda: self.ready)
        self.metrics.memory.set_function(lambda: self._detector.memory() if self._detector else 0)

    @property
    def ready(self) -> bool:
        return self.started and not self.draining and self.alive

    @property
    def alive(self) -> bool:
        return self._worker is None or self._worker.alive

    @property
    def detector(self) -> Detector:
        """Raises Unavailable while the network loads."""
        if self._detector is None or not self.started:
            raise Unavailable("the network is being loaded", retry_after=LOADING)
        return self._detector

    async def start(self, load: Callable[[], Detector]) -> None:
        """Loads and warms up; what fails is logged, and stops the service."""
        try:
            detector = await run_sync(load)
            self._detector, self._worker = detector, Worker(self.settings.queue_size, self.settings.queue_pixels, self.stop)
            warm = choose(patch=detector.model.side, stride=1, colours=1)
            await self._worker.run(lambda heed: detector.locate(np.zeros((64, 64, 3), np.uint8), warm))
            self.started = True
        except Exception as error:
            log.critical("the service can't start: %s", error)
            self.stop()

    async def decoded(self, data: bytes) -> NDArray[np.uint8]:
        return await run_sync(decode, data, self.settings.limits, limiter=self.decoders)

    async def locate(
        self, data: bytes, image: NDArray[np.uint8], options: Options, tell: Progress = silent
    ) -> tuple[Done[Localization], bool]:
        """What is on the image that `data` was decoded to, and whether that was known before."""
        detector, worker, asked = self.detector, self._worker, key(data, options)
        assert worker is not None
        if known := self._cache.get(asked):
            return Done(known, 0.0), True

        def work(heed: Callable[[], None]) -> Localization:
            def progress(done: int, total: int) -> None:
                heed()
                tell(done, total)

            return detector.locate(image, options, progress)

        done = await worker.run(work, image.shape[0] * image.shape[1])
        self._cache.put(asked, done.result)
        return done, False

    def room_for_upload(self, request: object) -> None:
        """Raises QueueFull where too many pictures are being received; `uploads.release_on_behalf_of` gives the room back."""
        try:
            self.uploads.acquire_on_behalf_of_nowait(request)
        except anyio.WouldBlock:
            limit = self.settings.uploads
            raise QueueFull(f"{limit} pictures are being received, which is the limit", limit=limit, retry_after=1) from None

    def room_to_wait(self, data: bytes, options: Options) -> None:
        """Raises QueueFull where the device could not take it anyway, before it is decoded; what is known needs no device."""
        limit = self.settings.queue_size
        if self._worker and self._worker.waiting >= limit and self._cache.get(key(data, options)) is None:
            seconds = max(1, ceil(self.waited))
            raise QueueFull(f"{limit} requests are waiting, which is the limit; try again in {seconds} s", limit=limit, retry_after=seconds)

    async def close(self) -> None:
        """Waits for what the device does now, which nobody waits for any more, but not for a device that hangs."""
        self.draining = True
        if self._worker:
            closing = threading.Thread(target=self._worker.close, daemon=True)  # which keeps no process from ending
            closing.start()
            with anyio.move_on_after(LAST):
                while closing.is_alive():
                    await anyio.sleep(0.01)
            if closing.is_alive():
                log.error("the device did not stop in %g s and is left behind", LAST)
