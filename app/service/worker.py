"""The bounded queue between HTTP and the device.

One thread owns the device. It looks at waiting requests together and answers them one by one.
"""

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import ceil
from typing import Generic, TypeVar

from app.errors import DeviceLost, QueueFull, Unavailable
from app.method.stopwatch import Stopwatch
from app.progress import Progress, no_progress

Asked = TypeVar("Asked")
Seen = TypeVar("Seen")
Answer = TypeVar("Answer")
STUCK = 120.0  # seconds without progress in a job, after which the device counts as hung


class Dropped(Exception):
    """Raised inside a job whose caller is gone."""


@dataclass(frozen=True, eq=False)
class Job(Generic[Asked, Answer]):
    """One request in the queue; `dropped` is set when its caller is gone."""

    asked: Asked
    pixels: int
    clock: Stopwatch
    progress: Progress
    future: Future[Answer] = field(default_factory=Future)
    dropped: threading.Event = field(default_factory=threading.Event)


class Worker(Generic[Asked, Seen, Answer]):
    """Owns the device: one thread, which starts on creation; `close` finishes what was accepted."""

    def __init__(
        self,
        look: Callable[[Sequence[Asked]], Sequence[Seen]],
        finish: Callable[[Asked, Seen, Progress], Answer],
        queue_size: int,
        max_pixels: int = 2**62,
        batch: int = 1,
        lost: Callable[[], None] = lambda: None,
        batched: Callable[[int], object] = lambda count: None,
    ) -> None:
        """look: called with up to `batch` waiting requests; finish: then with each of them alone.

        lost: called once, in the device's thread, when the device fails for good.
        batched: called with the number of requests that are looked at together.
        """
        self._look = look
        self._finish = finish
        self._batch = batch
        self._lost = lost
        self._batched = batched
        self._jobs: queue.Queue[Job[Asked, Answer] | None] = queue.Queue(queue_size)
        self._max_pixels = max_pixels
        self._pixels = 0  # of the jobs that wait or run
        self._lock = threading.Lock()
        self._mean_seconds = 1.0
        self._beat: float | None = None  # last sign of life of the job that runs
        self._closed = False
        self._broken = False
        self._thread = threading.Thread(target=self._serve, name="device", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread runs, the device works, and no job is silent for STUCK seconds."""
        beat = self._beat
        return (
            self._thread.is_alive()
            and not self._broken
            and (beat is None or time.perf_counter() - beat < STUCK)
        )

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return self._jobs.qsize()

    def room(self) -> None:
        """Raises QueueFull where the queue is full, so that no picture is decoded for nothing."""
        if self._jobs.full():
            raise self._crowded()

    async def run(
        self,
        asked: Asked,
        clock: Stopwatch,
        pixels: int = 0,
        progress: Progress = no_progress,
    ) -> Answer:
        """The answer to one request; `clock` laps `queue`, and `progress` is told when it waits.

        Raises what the work raises, QueueFull at once if too much waits, Unavailable once closed.
        When the caller is cancelled, work that waits never runs, and work that runs stops at its
        next call of `progress`.
        """
        if self._closed or self._broken:
            raise Unavailable(
                "the device is lost" if self._broken else "the service is stopping", retry_after=5
            )
        job: Job[Asked, Answer] = Job(asked, pixels, clock, progress)
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

    def _admit(self, job: Job[Asked, Answer]) -> None:
        with self._lock:
            held = self._pixels + job.pixels
            if self._pixels and held > self._max_pixels:
                raise self._full(
                    f"the pictures that wait would have {held} pixels, "
                    f"and {self._max_pixels} is the limit",
                    self._max_pixels,
                )
            self.room()
            job.progress("queue", 0, 1)  # before the device's thread can tell of its own
            self._jobs.put(job)
            self._pixels = held

    def _crowded(self) -> QueueFull:
        return self._full(
            f"{self._jobs.maxsize} requests are waiting, which is the limit", self._jobs.maxsize
        )

    def _full(self, detail: str, limit: int) -> QueueFull:
        seconds = max(1, ceil(self.waiting * self._mean_seconds))
        return QueueFull(f"{detail}; try again in {seconds} s", limit=limit, retry_after=seconds)

    def _serve(self) -> None:
        while True:
            taken, closing = self._take()
            wanted = [
                job
                for job in taken
                if not job.dropped.is_set() and job.future.set_running_or_notify_cancel()
            ]
            if wanted:
                self._answer(wanted)
            with self._lock:
                self._pixels -= sum(job.pixels for job in taken)
            if closing:
                return

    def _take(self) -> tuple[list[Job[Asked, Answer]], bool]:
        """The jobs that wait, in order, at most a batch; and whether the worker closes now."""
        taken: list[Job[Asked, Answer]] = []
        while len(taken) < self._batch:
            try:
                job = self._jobs.get(block=not taken)
            except queue.Empty:
                break
            if job is None:
                return taken, True
            taken.append(job)
        return taken, False

    def _answer(self, jobs: list[Job[Asked, Answer]]) -> None:
        start = self._beat = time.perf_counter()
        self._batched(len(jobs))
        _end_of_waiting(jobs)
        seen = self._together(jobs)
        for i, job in enumerate(jobs):
            with self._answering(job):
                if self._broken:
                    raise Unavailable("the device is lost", retry_after=5)
                if i > 0:
                    _end_of_waiting([job])  # for those before it
                mine = seen[i] if seen else self._look([job.asked])[0]
                job.future.set_result(self._finish(job.asked, mine, self._watched(job)))
        self._beat = None
        self._mean_seconds += 0.2 * ((time.perf_counter() - start) / len(jobs) - self._mean_seconds)

    def _together(self, jobs: list[Job[Asked, Answer]]) -> Sequence[Seen] | None:
        """None for a single job, or where looking at all together fails.

        Each is then looked at alone, so that none of them can hurt another.
        """
        if len(jobs) == 1 or self._broken:
            return None
        try:
            return self._look([job.asked for job in jobs])
        except Exception:
            return None

    @contextmanager
    def _answering(self, job: Job[Asked, Answer]) -> Iterator[None]:
        """Any error is given to the job's caller; the thread goes on."""
        try:
            yield
        except DeviceLost as error:
            self._broken = True
            job.future.set_exception(error)
            self._lost()
        except BaseException as error:
            job.future.set_exception(error)

    def _watched(self, job: Job[Asked, Answer]) -> Progress:
        """The job's progress: a sign of life of the device, and the end once the caller is gone."""

        def progress(stage: str, done: int, total: int) -> None:
            self._beat = time.perf_counter()
            if job.dropped.is_set():
                raise Dropped
            job.progress(stage, done, total)

        return progress


def _end_of_waiting(jobs: Sequence[Job[Asked, Answer]]) -> None:
    for job in jobs:
        job.clock.lap("queue")
