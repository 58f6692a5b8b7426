"""The bounded queue between HTTP and the device: one thread owns the device and does one job after the other."""

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from math import ceil
from typing import Any, Generic, TypeVar

from app.errors import QueueFull, Unavailable

T = TypeVar("T")


@dataclass(frozen=True)
class Done(Generic[T]):
    """A job's result and the milliseconds that it waited for the device."""

    result: T
    waited_ms: float


class Worker:
    """Starts on creation; `close` finishes what was accepted."""

    def __init__(self, queue_size: int) -> None:
        self._jobs: queue.Queue[tuple[Future[Any], Callable[[], Any]] | None] = queue.Queue(queue_size)
        self._mean_seconds = 1.0
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="device", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    async def run(self, job: Callable[[], T]) -> Done[T]:
        """Raises what the job raises, QueueFull at once if too many wait, Unavailable once closed. A cancelled wait never runs."""
        if self._closed:
            raise Unavailable("the service is stopping", retry_after=1)
        future: Future[Done[T]] = Future()
        asked = time.perf_counter()
        try:
            self._jobs.put_nowait((future, lambda: Done(waited_ms=(time.perf_counter() - asked) * 1000, result=job())))
        except queue.Full:
            seconds = ceil(self._jobs.maxsize * self._mean_seconds)
            raise QueueFull(
                f"{self._jobs.maxsize} requests are waiting, which is the limit; try again in {seconds} s",
                limit=self._jobs.maxsize,
                retry_after=seconds,
            ) from None
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Blocks until every accepted job has been answered."""
        self._closed = True
        self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (item := self._jobs.get()) is not None:
            future, job = item
            if not future.set_running_or_notify_cancel():
                continue
            start = time.perf_counter()
            try:
                future.set_result(job())
            except BaseException as error:  # the job's own caller is told; the thread serves on
                future.set_exception(error)
            self._mean_seconds += 0.2 * (time.perf_counter() - start - self._mean_seconds)
