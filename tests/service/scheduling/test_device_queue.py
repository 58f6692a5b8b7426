"""The queue by itself, with a device and callers that a clock of the test moves."""

import random
from collections import Counter

import pytest

from app.service.scheduling.device_queue import DeviceQueue
from app.service.scheduling.forecast import Claim
from tests.service import Clock
from weakpoints.errors import QueueFull

SECONDS, WAITS = 0.1, 1.0  # of the device for each request; that a caller waits


class Device:
    """Serves one claim after the other, each in SECONDS."""

    def __init__(self, clock: Clock, queue: DeviceQueue[Claim]) -> None:
        self.clock, self.queue = clock, queue
        self.running: Claim | None = None
        self.free = clock.now
        self.outcomes: Counter[str] = Counter()

    def send(self, claim: Claim) -> None:
        try:
            self.outcomes["refused"] += len(self.queue.put(claim, claim))
        except QueueFull:
            self.outcomes["refused"] += 1
        self._begin()

    def work_until(self, moment: float) -> None:
        while self.running is not None and self.free <= moment:
            self.clock.now = self.free
            in_time = self.clock.now <= self.running.until
            self.outcomes["answered" if in_time else "too late"] += 1
            self.queue.done(self.running, SECONDS)
            self.running = None
            self._begin()
        self.clock.now = moment

    def _begin(self) -> None:
        if self.running is None and len(self.queue):
            taken, late = self.queue.take(1)
            self.outcomes["refused while waiting"] += len(late)
            if taken:
                (self.running,), self.free = taken, self.clock.now + SECONDS


@pytest.mark.parametrize("callers", [1, 8])
def test_at_three_times_the_load_the_device_works_for_answers_that_arrive(
    clock: Clock, callers: int
) -> None:
    rng, device = random.Random(0), Device(clock, DeviceQueue(64, 2**62))
    start, sent = clock.now, 300
    for number in range(sent):
        device.work_until(start + number * SECONDS / 3)
        caller = f"caller {rng.randrange(callers)}"
        device.send(Claim(caller, cost=7, until=clock.now + WAITS))
    busy = clock.now - start
    device.work_until(clock.now + 60)
    assert sum(device.outcomes.values()) == sent
    assert device.outcomes["too late"] == 0
    assert device.outcomes["answered"] * SECONDS >= busy, "the device was never without work"
    late, refused = device.outcomes["refused while waiting"], device.outcomes["refused"]
    assert late < refused / 2, "most are refused at once"
