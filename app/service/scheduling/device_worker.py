"""Between HTTP and the device: a bounded queue, and one thread that owns the device.

It looks at waiting requests together and answers them one by one.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from app.service.scheduling.device_queue import DeviceQueue
from app.service.scheduling.forecast import Claim, Full
from weakpoints.errors import DeviceLost, Unavailable, WeakpointsError
from weakpoints.method.stopwatch import Stopwatch
from weakpoints.progress import Progress, no_progress

Input = TypeVar("Input")
Pass = TypeVar("Pass")
Output = TypeVar("Output")
ANYBODY = Claim()
HOLDS_MOST = "other callers wait, and yours holds most of the queue"
TOO_LATE = "other callers went before, and the answer would come after its caller goes"
STUCK = 120.0  # seconds without progress in a job, after which the device counts as hung


class Dropped(Exception):
    """Raised inside a job whose caller is gone."""


@dataclass(frozen=True, eq=False)
class Job(Generic[Input, Output]):
    """One request in the queue; `dropped` is set when its caller is gone."""

    input: Input
    claim: Claim
    clock: Stopwatch
    progress: Progress
    future: Future[Output] = field(default_factory=Future)
    dropped: threading.Event = field(default_factory=threading.Event)


class Worker(Generic[Input, Pass, Output]):
    """Owns the device: one thread, which starts on creation; `close` finishes what was accepted."""

    def __init__(
        self,
        forward_backward: Callable[[Sequence[Input]], Sequence[Pass]],
        occlude: Callable[[Input, Pass, Progress], Output],
        queue_size: int,
        max_pixels: int = 2**62,
        batch: int = 1,
        lost: Callable[[], None] = lambda: None,
        batched: Callable[[int], object] = lambda count: None,
        rehearse: Callable[[int, Progress], int] = lambda batch, progress: batch,
    ) -> None:
        """forward_backward: called with up to `batch` waiting requests; occlude: then with each.

        lost: called once, in the device's thread, when the device fails for good.
        batched: called with the number of requests that are looked at together.
        rehearse: called once, in the device's thread, before any request is looked at, with
        `batch`; returns how many may be looked at together. `ready` has its outcome.
        """
        self._forward_backward = forward_backward
        self._occlude = occlude
        self._batch = batch
        self._lost = lost
        self._batched = batched
        self._rehearse = rehearse
        self.ready: Future[None] = Future()
        self.ready.set_running_or_notify_cancel()  # who waits for it can't cancel it
        self._queue: DeviceQueue[Job[Input, Output]] = DeviceQueue(queue_size, max_pixels)
        self._last_progress: float | None = None  # last sign of life of the job that runs
        self._preempted_seconds = 0.0  # in all, of jobs that went before an expensive one's steps
        self._closed = False
        self._broken = False
        self._thread = threading.Thread(target=self._serve, name="device", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread runs, the device works, and no job is silent for STUCK seconds."""
        last = self._last_progress
        return (
            self._thread.is_alive()
            and not self._broken
            and (last is None or time.perf_counter() - last < STUCK)
        )

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._queue)

    def check_capacity(self, claim: Claim) -> None:
        """Raises QueueFull where `run` would, so that nothing is decoded in vain."""
        self._queue.check(claim)

    @contextmanager
    def holding(self, claim: Claim) -> Iterator[None]:
        """A picture is in memory. Raises QueueFull where there would be too many pixels."""
        leaving = self._queue.hold(claim)
        self._refuse(leaving, HOLDS_MOST, self._queue.max_pixels)
        try:
            yield
        finally:
            self._queue.release(claim)

    async def run(
        self,
        input: Input,
        clock: Stopwatch,
        claim: Claim = ANYBODY,
        progress: Progress = no_progress,
    ) -> Output:
        """The answer to one request; `clock` laps `queue`, and `progress` is told when it waits.

        Raises what the work raises, QueueFull if too much waits, at once or when its place is taken
        by a caller that holds less, Unavailable once closed. When the caller is cancelled, work
        that waits gives its place back, and work that runs stops at its next call of `progress`.
        """
        if self._closed or self._broken:
            raise Unavailable(
                "the device is lost" if self._broken else "the service is stopping", retry_after=5
            )
        job: Job[Input, Output] = Job(input, claim, clock, progress)
        # Checked twice: `progress` may be a byte on the wire, after which there is no status 429.
        self._queue.check(claim)
        progress("queue", 0, 1)  # before the device's thread can tell of its own
        self._refuse(self._queue.put(job, claim), HOLDS_MOST, self._queue.max_waiting)
        try:
            return await asyncio.wrap_future(job.future)
        except asyncio.CancelledError:
            # If it waits, it is taken out; if it runs, its next call of progress ends it.
            job.dropped.set()
            self._queue.remove(job)
            raise
        finally:
            del job  # whose error's traceback will have this frame

    def close(self) -> None:
        """Blocks until every accepted job has been answered."""
        self._closed = True
        self._queue.close()
        self._thread.join()

    def _refuse(self, jobs: Sequence[Job[Input, Output]], detail: str, limit: float) -> None:
        """Those that were in the queue already, and whose callers have not left."""
        for job in jobs:
            if job.future.set_running_or_notify_cancel():
                job.future.set_exception(self._queue.refusal(Full(detail, limit)))

    def _serve(self) -> None:
        self._warm_up()
        while self._serve_some():
            pass

    def _serve_some(self) -> bool:
        """The next jobs; False once there are none any more. It keeps no picture while it waits."""
        jobs, late = self._queue.take(self._batch)
        self._refuse(late, TOO_LATE, 0)
        self._serve_these(jobs)
        return bool(jobs or late)

    def _serve_these(self, jobs: Sequence[Job[Input, Output]]) -> None:
        accepted = [
            job
            for job in jobs
            if not job.dropped.is_set() and job.future.set_running_or_notify_cancel()
        ]
        # Measured together: the forward pass is one for all of them.
        elapsed = self._stopwatch()
        if accepted:
            self._answer(accepted)
        seconds = elapsed() / max(1, len(accepted))  # of each: they were looked at together
        for job in jobs:
            answered = job.future.done() and not job.future.cancelled()
            answered = answered and job.future.exception() is None
            self._queue.done(job.claim, seconds if job in accepted else 0.0, answered)

    def _preempt(self, job: Job[Input, Output], elapsed: Callable[[], float]) -> None:
        """Others are answered between two steps of an expensive job that had so many seconds."""
        while (other := self._queue.next_preemptor(job.claim, elapsed())) is not None:
            start = time.perf_counter()
            self._serve_these([other])
            self._preempted_seconds += time.perf_counter() - start
            self._last_progress = time.perf_counter()

    def _stopwatch(self) -> Callable[[], float]:
        """Tells the seconds from now on, without those of jobs that went before its steps."""
        start, preempted = time.perf_counter(), self._preempted_seconds
        return lambda: time.perf_counter() - start - (self._preempted_seconds - preempted)

    def _warm_up(self) -> None:
        """Any error is for those who wait for `ready`; the thread goes on."""

        def progress(stage: str, done: int, total: int) -> None:
            self._last_progress = time.perf_counter()

        try:
            self._last_progress = time.perf_counter()
            self._batch = self._rehearse(self._batch, progress)
            self.ready.set_result(None)
        except BaseException as error:
            self.ready.set_exception(error)
        self._last_progress = None

    def _answer(self, jobs: list[Job[Input, Output]]) -> None:
        self._last_progress = time.perf_counter()
        self._batched(len(jobs))
        for job in jobs:
            job.clock.lap("queue")
        network_passes = self._together(jobs)
        for i, job in enumerate(jobs):
            if i > 0:
                job.clock.lap("queue")  # it waited again, for those before it
            self._answer_one(job, network_passes[i] if network_passes else None)
        self._last_progress = None

    def _together(self, jobs: list[Job[Input, Output]]) -> Sequence[Pass] | None:
        """None for a single job, or where looking at all together fails.

        Each is then looked at alone, so that none of them can hurt another.
        """
        if len(jobs) == 1 or self._broken:
            return None
        try:
            return self._forward_backward([job.input for job in jobs])
        except Exception:
            return None

    def _answer_one(self, job: Job[Input, Output], network_pass: Pass | None) -> None:
        """Any error is given to the job's caller; the thread goes on.

        What is expected goes without its traceback, whose frames have the job: a circle would keep
        the picture until the collector comes.
        """
        try:
            if self._broken:
                raise Unavailable("the device is lost", retry_after=5)
            if network_pass is None:
                network_pass = self._forward_backward([job.input])[0]
            job.future.set_result(self._occlude(job.input, network_pass, self._watched(job)))
        except DeviceLost as error:
            # After a CUDA error the context is gone for the whole process.
            self._broken = True
            job.future.set_exception(error)
            self._lost()
        except (Dropped, WeakpointsError) as error:
            job.future.set_exception(error.with_traceback(None))
        except BaseException as error:
            job.future.set_exception(error)

    def _watched(self, job: Job[Input, Output]) -> Progress:
        """The job's progress.

        A sign of life of the device, and the end once the caller is gone. Others are answered
        between the steps of an expensive one.
        """
        elapsed = self._stopwatch()

        def progress(stage: str, done: int, total: int) -> None:
            self._last_progress = time.perf_counter()
            if job.dropped.is_set():
                raise Dropped
            job.progress(stage, done, total)
            # Cheap jobs are over before another could be begun.
            if job.claim.expensive:
                self._preempt(job, elapsed)

        return progress
