"""The bounded queue between HTTP and the device: one thread owns the device and does one job after the other."""

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from math import ceil
from typing import Any, Generic, TypeVar

from app.errors import DeviceLost, QueueFull, Unavailable

T = TypeVar("T")
STUCK = 120.0  # seconds without a sign of life in a job, after which the device counts as hung


@dataclass(frozen=True)
class Done(Generic[T]):
    """A job's result and the milliseconds that it waited for the device."""

    result: T
    waited_ms: float


class Dropped(Exception):
    """Raised inside a job whose caller is gone."""


@dataclass(frozen=True)
class Job:
    """work is given a function to call now and then: it raises Dropped once nobody waits any more."""

    work: Callable[[Callable[[], None]], Any]
    pixels: int
    future: Future[Done[Any]] = field(default_factory=Future)
    dropped: threading.Event = field(default_factory=threading.Event)
    asked: float = field(default_factory=time.perf_counter)


class Worker:
    """Starts on creation; `close` finishes what was accepted. `lost` is called once, by the device thread, when the device fails for good."""

    def __init__(self, queue_size: int, max_pixels: int = 2**62, lost: Callable[[], None] = lambda: None) -> None:
        self._jobs: queue.Queue[Job | None] = queue.Queue(queue_size)
        self._max_pixels, self._pixels, self._lock = max_pixels, 0, threading.Lock()
        self._mean_seconds = 1.0
        self._beat: float | None = None  # of the job that runs
        self._closed, self._broken, self._lost = False, False, lost
        self._thread = threading.Thread(target=self._serve, name="device", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        beat = self._beat
        return self._thread.is_alive() and not self._broken and (beat is None or time.perf_counter() - beat < STUCK)

    @property
    def waiting(self) -> int:
        return self._jobs.qsize()

    async def run(self, work: Callable[[Callable[[], None]], T], pixels: int = 0) -> Done[T]:
        """Raises what the work raises, QueueFull at once if too much waits, Unavailable once closed.

        When the caller is cancelled, work that waits never runs, and work that runs stops at its next sign of life.
        """
        if self._closed or self._broken:
            raise Unavailable("the device is lost" if self._broken else "the service is stopping", retry_after=5)
        job = Job(work, pixels)
        self._admit(job)
        try:
            return await asyncio.wrap_future(job.future)
        except asyncio.CancelledError:
            job.dropped.set()
            raise

    def close(self) -> None:
        """Blocks until every accepted job has been answered."""
        self._closed = True
        self._jobs.put(None)
        self._thread.join()

    def _admit(self, job: Job) -> None:
        with self._lock:
            held = self._pixels + job.pixels
            if self._pixels and held > self._max_pixels:
                raise self._full(f"the pictures that wait would have {held} pixels, and {self._max_pixels} is the limit", self._max_pixels)
            try:
                self._jobs.put_nowait(job)
            except queue.Full:
                raise self._full(f"{self._jobs.maxsize} requests are waiting, which is the limit", self._jobs.maxsize) from None
            self._pixels = held

    def _full(self, detail: str, limit: int) -> QueueFull:
        seconds = max(1, ceil(self.waiting * self._mean_seconds))
        return QueueFull(f"{detail}; try again in {seconds} s", limit=limit, retry_after=seconds)

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            if not job.dropped.is_set() and job.future.set_running_or_notify_cancel():
                self._do(job)
            with self._lock:
                self._pixels -= job.pixels

    def _do(self, job: Job) -> None:
        start = self._beat = time.perf_counter()

        def heed() -> None:
            self._beat = time.perf_counter()
            if job.dropped.is_set():
                raise Dropped

        try:
            if self._broken:
                raise Unavailable("the device is lost", retry_after=5)
            job.future.set_result(Done(job.work(heed), (start - job.asked) * 1000))
            self._mean_seconds += 0.2 * (time.perf_counter() - start - self._mean_seconds)
        except DeviceLost as error:
            self._broken = True
            job.future.set_exception(error)
            self._lost()
        except BaseException as error:  # the job's own caller is told; the thread serves on
            job.future.set_exception(error)
        finally:
            self._beat = None
