"""What the routes share: loaded once, in the background, so that the probes can say so meanwhile."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import anyio
from anyio.to_thread import run_sync

from app.decoding.pool import Call, Decoders
from app.errors import QueueFull, Unavailable
from app.method.detector import Detector, Look, Paused
from app.method.localization import Localization
from app.method.stopwatch import Stopwatch
from app.options import Options
from app.progress import Progress, no_progress
from app.service.api_keys import Keys
from app.service.cache import Cache, Key
from app.service.metrics import Metrics
from app.service.worker import Worker
from app.settings import Settings

log = logging.getLogger("weakpoints")
LAST = 5.0  # seconds that closing may take once every request has been answered or given up
LOADING = 5  # seconds after which a caller may ask again
BATCH = {
    "cpu": 1,
    "cuda": 8,
}  # one picture keeps a CPU busy, and alone it gives the same bits each time


@dataclass
class Service:
    """`stop` ends the process: called when the network can't be loaded, or the device is lost."""

    settings: Settings
    stop: Callable[[], None]
    metrics: Metrics = field(default_factory=Metrics)
    started: bool = False
    draining: bool = False
    _detector: Detector | None = None
    _worker: Worker[Paused, Look, Localization] | None = None

    def __post_init__(self) -> None:
        self.keys = Keys(self.settings.api_keys)
        self._cache = Cache(self.settings.cache_bytes)
        self.decoders = anyio.CapacityLimiter(self.settings.decoders)
        self.decoding = Decoders(self.settings.decoders, self.settings.limits)
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
            self.decoding.start()
            detector = await run_sync(load, abandon_on_cancel=True)
            await run_sync(self.decoding.wait, abandon_on_cancel=True)
            self._detector, self._worker = detector, self._owner_of_the_device(detector)
            await self._worker.run(detector.rehearsal(), Stopwatch())
            self.started = True
        except Exception as error:
            log.critical("the service can't start: %s", error)
            self.stop()

    async def prepared(
        self, data: bytes, options: Options, clock: Stopwatch, seconds: float
    ) -> Paused:
        """Decodes the file, in a child that ends with this call, and prepares it for the device.

        All that can be refused about a photograph is refused here: raises WeakpointsError.
        """
        call = Call()

        def work() -> Paused:
            image = self.decoding.decode(data, seconds, call)
            clock.lap("decode")
            return self.detector.start(image, options, clock)

        try:
            return await run_sync(work, limiter=self.decoders, abandon_on_cancel=True)
        finally:
            call.give_up()

    async def located(
        self, asked: Key, paused: Paused, progress: Progress = no_progress
    ) -> tuple[Localization, bool]:
        """What is on a photograph, and whether that was known before."""
        worker, picture = self._worker, paused.picture
        assert worker is not None
        if known := self._cache.get(asked):
            progress("queue", 0, 1)
            return known, True
        height, width, _ = picture.image.shape
        found = await worker.run(paused, picture.clock, height * width, progress)
        self._cache.put(asked, found)
        return found, False

    def _owner_of_the_device(self, detector: Detector) -> Worker[Paused, Look, Localization]:
        settings = self.settings
        return Worker(
            detector.look,
            detector.finish,
            settings.queue_size,
            settings.queue_pixels,
            settings.batch or BATCH[detector.model.device.partition(":")[0]],
            self.stop,
            self.metrics.batch.observe,
        )

    def room_for_upload(self, request: object) -> None:
        """Raises QueueFull where too many pictures are being received; `uploads.release_on_behalf_of` gives the room back."""
        try:
            self.uploads.acquire_on_behalf_of_nowait(request)
        except anyio.WouldBlock:
            limit = self.settings.uploads
            raise QueueFull(
                f"{limit} pictures are being received, which is the limit",
                limit=limit,
                retry_after=1,
            ) from None

    def room_to_wait(self, asked: Key) -> None:
        """Raises QueueFull where the device could not take it anyway, before it is decoded; what is known needs no device."""
        if self._worker and self._cache.get(asked) is None:
            self._worker.room()

    async def close(self) -> None:
        """Waits for what the device does now, which nobody waits for any more, but not for a device that hangs."""
        self.draining = True
        self.decoding.close()
        if self._worker:
            closing = threading.Thread(
                target=self._worker.close, daemon=True
            )  # which keeps no process from ending
            closing.start()
            with anyio.move_on_after(LAST):
                while closing.is_alive():
                    await anyio.sleep(0.01)
            if closing.is_alive():
                log.error("the device did not stop in %g s and is left behind", LAST)
