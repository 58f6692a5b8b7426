"""The way of an uploaded file: decoded in a child, found in the cache or sent to the device."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

import anyio
from anyio.lowlevel import checkpoint
from anyio.to_thread import run_sync

from app.decoding.pool import Call, Decoders
from app.errors import QueueFull
from app.method.detector import Detector, Look, Paused
from app.method.localization import Localization
from app.method.stopwatch import Stopwatch
from app.options import Options
from app.progress import Progress, no_progress
from app.service.cache import Cache, Key, key
from app.service.metrics import Metrics
from app.service.worker import Worker
from app.settings import Settings

# Pictures that are looked at together. One keeps a CPU busy, and alone it gives the same bits
# each time.
BATCH = {"cpu": 1, "cuda": 8}


@dataclass(frozen=True)
class Received:
    """A photograph that is decoded and may be sent to the device; `key` is its answer's."""

    key: Key
    paused: Paused


class Locator:
    """The detector behind its limits: uploads, decoding, cache, and the device's queue."""

    def __init__(
        self,
        settings: Settings,
        detector: Detector,
        decoding: Decoders,
        metrics: Metrics,
        lost: Callable[[], None],
    ) -> None:
        """lost: called once, when the device fails for good."""
        self.detector = detector
        self.decoders = anyio.CapacityLimiter(settings.decoders)
        self._decoding = decoding
        self.uploads = anyio.CapacityLimiter(settings.uploads)
        self._cache = Cache(settings.cache_bytes)
        self.worker: Worker[Paused, Look, Localization] = Worker(
            detector.look,
            detector.finish,
            settings.queue_size,
            settings.queue_pixels,
            settings.batch or BATCH[detector.model.device.partition(":")[0]],
            lost,
            metrics.batch.observe,
        )

    async def warm_up(self) -> None:
        """One detection without a caller. Raises what goes wrong."""
        await self.worker.run(self.detector.rehearsal(), Stopwatch())

    def place(self) -> ExitStack:
        """A place among the uploads that are received and decoded, until it is closed.

        Raises QueueFull.
        """
        place = ExitStack()
        try:
            self.uploads.acquire_on_behalf_of_nowait(place)
        except anyio.WouldBlock:
            limit = int(self.uploads.total_tokens)
            raise QueueFull(
                f"{limit} pictures are being received, which is the limit",
                limit=limit,
                retry_after=1,
            ) from None
        place.callback(self.uploads.release_on_behalf_of, place)
        return place

    async def receive(
        self, data: bytes, options: Options, clock: Stopwatch, seconds: float
    ) -> Received:
        """The file decoded, in a child that ends with this call, and prepared for the device.

        seconds: what the caller still waits. Laps `decode` and `prepare`. All that can be refused
        about a photograph is refused here: raises WeakpointsError. QueueFull is raised before it is
        decoded, unless its answer is in the cache.
        """
        asked = key(data, options)
        if asked not in self._cache:
            self.worker.room()

        call = Call()

        def work() -> Paused:
            image = self._decoding.decode(data, seconds, call, options.background)
            clock.lap("decode")
            return self.detector.start(image, options, clock)

        try:
            paused = await run_sync(work, limiter=self.decoders, abandon_on_cancel=True)
        finally:
            call.give_up()
        await checkpoint()  # a deadline or a hang-up may have come meanwhile
        return Received(asked, paused)

    async def locate(
        self, received: Received, progress: Progress = no_progress
    ) -> tuple[Localization, bool]:
        """What is on the photograph, and whether the cache knew it. Raises as `Worker.run` does."""
        if known := self._cache.get(received.key):
            progress("queue", 0, 1)
            return known, True
        picture = received.paused.picture
        height, width, _ = picture.image.shape
        found = await self.worker.run(received.paused, picture.clock, height * width, progress)
        self._cache.put(received.key, found)
        return found, False
