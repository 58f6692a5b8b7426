"""The way of an uploaded file: decoded in a child, found in the cache or sent to the device."""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from typing import TypeVar

import anyio
import numpy as np
from anyio.lowlevel import checkpoint
from anyio.to_thread import run_sync
from numpy.typing import NDArray

from app.decoding.handle import DecodeCall
from app.decoding.pool import Decoders
from app.service.observability.metrics import Metrics
from app.service.scheduling.device_worker import Dropped, Worker
from app.service.scheduling.forecast import Claim
from app.service.scheduling.photographs import (
    PhotographRequest,
    ReceivedPhotograph,
    ResultCache,
    key,
)
from app.service.scheduling.slots import DecodeSlots, UploadPlaces
from app.settings import Settings
from weakpoints.images.decode import is_large, is_large_size
from weakpoints.method.detector import Detector
from weakpoints.method.localization import ClassScore, Localization
from weakpoints.method.rehearsal import rehearse
from weakpoints.method.stages import Evidence, NetworkPass, Prepared
from weakpoints.progress import Progress, no_progress

Made = TypeVar("Made")
# Pictures that are looked at together. One keeps a CPU busy, and alone it gives the same bits
# each time.
PICTURES_TOGETHER = {"cpu": 1, "cuda": 8}
# Where others are answered between two steps of an expensive request: each takes memory of its own.
PREEMPTIBLE = {"cpu"}
COST_OF_CLASSES = 0  # cost of what needs no occlusion, beside those of `Detector.cost`
AFTER = 0.25  # seconds from the device to the answer: keypoints, and the JSON of them


class Pipeline:
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
        self._slots = DecodeSlots(settings.decoders)
        self._threads = ThreadPoolExecutor(settings.decoders, "pixels")
        self._decoding, self._limits = decoding, settings.limits
        self._places = UploadPlaces(settings.uploads)
        self.uploads = self._places.limiter
        self._cache = ResultCache(settings.cache_bytes)
        self.worker: Worker[Prepared, NetworkPass, Evidence] = Worker(
            detector.forward_backward,
            detector.occlude,
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

    def close(self) -> None:
        """Blocks until every accepted job has been answered; its threads end."""
        self._threads.shutdown(wait=False)  # idle ones would stay as long as anybody holds this
        self.worker.close()

    def place(self, caller: str) -> ExitStack:
        """A place among the uploads, until it is closed. Raises QueueFull."""
        return self._places.take(caller)

    async def receive(
        self, request: PhotographRequest, reserved: ExitStack, pixels: bool = False
    ) -> ReceivedPhotograph:
        """The file decoded, in a child that ends with this call, and prepared for the device.

        An answer that is in the cache needs neither, unless its pixels are asked for. reserved: to
        be closed when the picture is no longer in memory. Laps `decode` and `prepare`.
        All that can be refused about a photograph is refused here: raises WeakpointsError.
        QueueFull is raised before it is decoded.
        """
        # On a thread: SHA-256 of 20 MB takes tens of milliseconds.
        cache_key = await run_sync(key, request.data, request.options)
        known = self._cache.get(cache_key)
        if known and not pixels:
            return ReceivedPhotograph(cache_key, known, None, None)
        if known:
            image = await self._decoded(request, lambda image: image)
            claim = Claim(request.caller, image.shape[0] * image.shape[1])
            reserved.enter_context(self.worker.holding(claim))
            return ReceivedPhotograph(cache_key, known, image, None)
        claim = self._claim(request)
        # A full queue refuses before decoding, which would be in vain.
        self.worker.check_capacity(claim)

        def start(image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8] | None, Prepared]:
            # Where nothing is drawn, the full-size pixels go as soon as they were made small.
            prepared = self.detector.prepare(image, request.options, request.clock)
            return image if pixels else None, prepared

        image_kept, prepared = await self._decoded(request, start)
        return ReceivedPhotograph(
            cache_key, None, image_kept, (prepared, self._reserve(claim, prepared, reserved))
        )

    async def locate(
        self, received: ReceivedPhotograph, progress: Progress = no_progress
    ) -> tuple[Localization, bool]:
        """What is on the photograph, and whether the cache knew it. Raises as `Worker.run` does."""
        # Another request may have answered the same photograph while this one was decoded.
        known = received.known or self._cache.get(received.key)
        if known or received.waiting is None:
            assert known is not None
            progress("queue", 0, 1)
            return known, True
        prepared, claim = received.waiting
        evidence = await self.worker.run(prepared, prepared.clock, claim, progress)
        # On a thread: the device is free.
        explain = partial(self.detector.explain, prepared, evidence)
        localization: Localization = await self.on_thread(claim.caller, explain)
        self._cache.put(received.key, localization)
        return localization, False

    async def recognise(self, request: PhotographRequest) -> tuple[ClassScore, ...]:
        """The likeliest classes of a photograph: a forward pass, without an occlusion.

        Raises as `receive` and `Worker.run` do.
        """
        claim = replace(self._claim(request), expensive=False, cost=COST_OF_CLASSES)
        self.worker.check_capacity(claim)

        def start(image: NDArray[np.uint8]) -> Prepared:
            return self.detector.prepare(image, request.options, request.clock, maps=False)

        prepared = await self._decoded(request, start)
        with ExitStack() as reserved:
            claim = self._reserve(claim, prepared, reserved)
            return (await self.worker.run(prepared, request.clock, claim)).top

    async def look_at_all(
        self,
        request: PhotographRequest,
        prepare: Callable[[NDArray[np.uint8]], list[Prepared]],
    ) -> list[tuple[Prepared, Evidence]]:
        """What the network says of one photograph, or of several parts of it.

        All parts wait together, so that their forward passes may go together. Raises as `receive`
        and `Worker.run` do.
        """
        # A forward pass alone is cheap, whatever the options of occlusion say.
        claim = replace(self._claim(request), expensive=False, cost=COST_OF_CLASSES)
        self.worker.check_capacity(claim)
        waiting = await self._decoded(request, prepare)
        with ExitStack() as reserved:
            claim = self._reserve(claim, waiting[0], reserved)
            runs = [
                asyncio.ensure_future(self.worker.run(prepared, prepared.clock, claim))
                for prepared in waiting
            ]
            try:
                return list(zip(waiting, await asyncio.gather(*runs), strict=True))
            finally:
                for run in runs:
                    run.cancel()
                await asyncio.gather(*runs, return_exceptions=True)

    async def on_thread(self, caller: str, work: Callable[[Progress], Made]) -> Made:
        """Work that needs no device, when it is the caller's turn. A caller may leave meanwhile."""
        gone = threading.Event()

        def stop_if_gone(stage: str, done: int, total: int) -> None:
            if gone.is_set():
                raise Dropped

        try:
            begun = await self._begin(caller, partial(work, stop_if_gone), large=False)
            return await asyncio.wrap_future(begun)
        finally:
            gone.set()

    async def _decoded(
        self, request: PhotographRequest, start: Callable[[NDArray[np.uint8]], Made]
    ) -> Made:
        """What `start` makes of the photograph, which is decoded in a child."""
        call = DecodeCall()

        def work() -> Made:
            seconds = max(0.0, request.until - time.monotonic())
            image = self._decoding.decode(request.data, seconds, call, request.options.background)
            request.clock.lap("decode")
            return start(image)

        try:
            # Not on the event loop: the head of a hostile file may take a quarter of a second.
            large = await run_sync(is_large, request.data, self._limits)
            # A small one is decoded sooner than another child would have started.
            decoding = await self._begin(request.caller, work, large)
            with anyio.CancelScope(shield=not large):
                made = await asyncio.wrap_future(decoding)
        finally:
            call.give_up()
        await checkpoint()  # a deadline or a hang-up may have come meanwhile
        return made

    async def _begin(self, caller: str, work: Callable[[], Made], large: bool) -> Future[Made]:
        """Work on a whole picture, begun on a thread when it is the caller's turn.

        large: whether it may take long. The slot is given back when the work has ended, even where
        its caller has left.
        """
        loop, slot = asyncio.get_running_loop(), await self._slots.take(caller, large)

        def give_back(future: Future[Made]) -> None:
            with suppress(RuntimeError):  # the loop has ended: nobody waits for a slot
                loop.call_soon_threadsafe(self._slots.give_back, slot)

        future = self._threads.submit(work)
        # Not in a `finally`: a thread that nobody waits for any more still fills its slot.
        future.add_done_callback(give_back)
        return future

    async def draw(
        self, caller: str, image: NDArray[np.uint8], reserved: ExitStack, work: Callable[[], Made]
    ) -> Made:
        """What is drawn of a picture, when it is the caller's turn. A caller may leave meanwhile.

        reserved: what counts the picture's pixels. They count until the drawing has ended, even
        where its caller has left.
        """
        large = is_large_size((image.shape[1], image.shape[0]), self._limits)
        future = await self._begin(caller, work, large)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            pixels = reserved.pop_all()
            future.add_done_callback(lambda _: pixels.close())
            raise

    def _claim(self, request: PhotographRequest) -> Claim:
        """What is known before the file is decoded: all but its pixels."""
        preemptible = self.detector.model.device in PREEMPTIBLE
        return Claim(
            request.caller,
            expensive=preemptible and self.detector.expensive(request.options),
            cost=self.detector.cost(request.options),
            until=request.until - AFTER,
        )

    def _reserve(self, claim: Claim, prepared: Prepared, reserved: ExitStack) -> Claim:
        """The picture counts until `reserved` is closed. Raises QueueFull."""
        claim = replace(claim, pixels=prepared.frame.width * prepared.frame.height)
        reserved.enter_context(self.worker.holding(claim))
        return claim


def _batch(settings: Settings, detector: Detector) -> int:
    """How many pictures may be looked at together; one where the trial found that wrong."""
    if any(path.name == "batching" and not path.on for path in detector.model.paths):
        return 1
    return settings.batch or PICTURES_TOGETHER[detector.model.device.partition(":")[0]]
