"""The way of an uploaded file: decoded in a child, found in the cache or sent to the device."""

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from math import ceil
from typing import Any, TypeVar

import anyio
import numpy as np
from anyio.lowlevel import checkpoint
from anyio.to_thread import run_sync
from numpy.typing import NDArray

from app.decoding.handle import Call
from app.decoding.pool import Decoders
from app.service.observability.metrics import Metrics
from app.service.scheduling.decode_slots import Slots
from app.service.scheduling.device_queue import Claim
from app.service.scheduling.device_worker import Worker
from app.service.scheduling.result_cache import Cache, Key, key
from app.settings import Settings
from weakpoints.errors import QueueFull
from weakpoints.images.decode import is_large, is_large_size
from weakpoints.method.detector import Detector
from weakpoints.method.localization import ClassScore, Localization
from weakpoints.method.paused import Found, Look, Paused, started
from weakpoints.method.rehearsal import rehearse
from weakpoints.method.stopwatch import Stopwatch
from weakpoints.options import Options
from weakpoints.progress import Progress, no_progress

Made = TypeVar("Made")
# Pictures that are looked at together. One keeps a CPU busy, and alone it gives the same bits
# each time.
BATCH = {"cpu": 1, "cuda": 8}
PASSED = {"cpu"}  # where others pass a dear request: each takes memory of its own
SHARE = 3 / 4  # of the uploads, for one caller at most: the others always find a place


@dataclass(frozen=True)
class Received:
    """A photograph that is decoded and may be sent to the device; `key` is its answer's."""

    key: Key
    paused: Paused[Localization]
    claim: Claim


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
        self._slots = Slots(settings.decoders)
        self._threads = anyio.CapacityLimiter(settings.decoders)
        self._decoding, self._limits = decoding, settings.limits
        self.uploads = anyio.CapacityLimiter(settings.uploads)
        self._uploads_of = Counter[str]()
        self._cache = Cache(settings.cache_bytes)
        self.worker: Worker[Paused[Any], Look, Any] = Worker(
            detector.look,
            detector.finish,
            settings.queue_size,
            settings.queue_pixels,
            _batch(settings, detector),
            lost,
            metrics.batch.observe,
            partial(rehearse, detector),
        )

    async def warm_up(self) -> None:
        """Waits until the device has rehearsed. Raises what went wrong."""
        await asyncio.wrap_future(self.worker.ready)

    def place(self, caller: str) -> ExitStack:
        """A place among the uploads that are received and decoded, until it is closed.

        Raises QueueFull.
        """
        limit = int(self.uploads.total_tokens)
        share = ceil(SHARE * limit)
        if self._uploads_of[caller] >= share:
            raise _crowded(f"{share} pictures of one caller", share)
        place = ExitStack()
        try:
            self.uploads.acquire_on_behalf_of_nowait(place)
        except anyio.WouldBlock:
            raise _crowded(f"{limit} pictures", limit) from None
        place.callback(self.uploads.release_on_behalf_of, place)
        self._uploads_of[caller] += 1
        place.callback(self._leave, caller)
        return place

    def _leave(self, caller: str) -> None:
        self._uploads_of[caller] -= 1
        if not self._uploads_of[caller]:
            del self._uploads_of[caller]

    async def receive(
        self,
        data: bytes,
        options: Options,
        clock: Stopwatch,
        caller: str,
        seconds: float,
        held: ExitStack,
    ) -> Received:
        """The file decoded, in a child that ends with this call, and prepared for the device.

        caller: see `callers`. seconds: what it still waits. held: to be closed when the picture is
        no longer in memory. Laps `decode` and `prepare`.
        All that can be refused about a photograph is refused here: raises WeakpointsError.
        QueueFull is raised before it is decoded, unless its answer is in the cache.
        """
        asked = await run_sync(key, data, options)
        if asked not in self._cache:
            self.worker.room(caller)

        start = partial(self.detector.start, options=options, clock=clock)
        paused = await self._decoded(data, options, clock, caller, seconds, start)
        return Received(asked, paused, self._held(caller, paused, held))

    async def locate(
        self, received: Received, progress: Progress = no_progress
    ) -> tuple[Localization, bool]:
        """What is on the photograph, and whether the cache knew it. Raises as `Worker.run` does."""
        if known := self._cache.get(received.key):
            progress("queue", 0, 1)
            return known, True
        clock = received.paused.picture.clock
        found: Localization = await self.worker.run(
            received.paused, clock, received.claim, progress
        )
        self._cache.put(received.key, found)
        return found, False

    async def recognise(
        self, data: bytes, options: Options, clock: Stopwatch, caller: str, seconds: float
    ) -> tuple[ClassScore, ...]:
        """The likeliest classes of a photograph: a forward pass, without an occlusion.

        Raises as `receive` and `Worker.run` do.
        """
        self.worker.room(caller)

        def start(image: NDArray[np.uint8]) -> Paused[tuple[ClassScore, ...]]:
            return started(self.detector.recognition(image, options, clock))

        waiting = await self._decoded(data, options, clock, caller, seconds, start)
        with ExitStack() as held:
            claim = self._held(caller, waiting, held)
            top: tuple[ClassScore, ...] = await self.worker.run(waiting, clock, claim)
        return top

    async def _decoded(
        self,
        data: bytes,
        options: Options,
        clock: Stopwatch,
        caller: str,
        seconds: float,
        start: Callable[[NDArray[np.uint8]], Paused[Found]],
    ) -> Paused[Found]:
        """The photograph, decoded in a child and started on its way to the device."""
        call = Call()

        def work() -> Paused[Found]:
            image = self._decoding.decode(data, seconds, call, options.background)
            clock.lap("decode")
            return start(image)

        try:
            # Not on the event loop: the head of a hostile file may take a quarter of a second.
            large = await run_sync(is_large, data, self._limits)
            # A small one is decoded sooner than another child would have started.
            waiting = await self.in_turn(caller, work, large, abandon=large)
        finally:
            call.give_up()
        await checkpoint()  # a deadline or a hang-up may have come meanwhile
        return waiting

    async def in_turn(
        self, caller: str, work: Callable[[], Made], large: bool, *, abandon: bool = False
    ) -> Made:
        """Work on a whole picture, on a thread: decoding and drawing, when it is the caller's turn.

        large: whether it may take long. abandon: whether a caller that leaves gives its place back
        before the work has ended.
        """
        async with self._slots.one(caller, large):
            return await run_sync(work, limiter=self._threads, abandon_on_cancel=abandon)

    async def drawn(self, caller: str, image: NDArray[np.uint8], draw: Callable[[], Made]) -> Made:
        """What is drawn of a picture, when it is the caller's turn."""
        large = is_large_size((image.shape[1], image.shape[0]), self._limits)
        return await self.in_turn(caller, draw, large)

    def _held(self, caller: str, paused: Paused[Any], held: ExitStack) -> Claim:
        """The picture counts until `held` is closed. Raises QueueFull."""
        height, width, _ = paused.picture.image.shape
        dear = self.detector.model.device in PASSED and self.detector.dear(paused.picture.options)
        claim = Claim(caller, height * width, dear)
        held.enter_context(self.worker.holding(claim))
        return claim


def _crowded(what: str, limit: int) -> QueueFull:
    return QueueFull(f"{what} are being received, which is the limit", limit=limit, retry_after=1)


def _batch(settings: Settings, detector: Detector) -> int:
    """How many pictures may be looked at together; one where the trial found that wrong."""
    if any(path.name == "batching" and not path.on for path in detector.model.paths):
        return 1
    return settings.batch or BATCH[detector.model.device.partition(":")[0]]
