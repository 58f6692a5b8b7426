"""How many pictures are received and decoded at the same time, and whose.

Decoding that has begun is not interrupted. So the last free slot is for small work alone: large
work never keeps it waiting, however much of it there is.
"""

import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from math import ceil

import anyio

from app.service.scheduling.fair_share import FairShare
from weakpoints.errors import QueueFull

CALLER_SHARE = 3 / 4  # of the upload places for one caller at most: the others always find one


@dataclass(eq=False)
class Slot:
    """One piece of work's. since: when it was given, on time.monotonic's clock."""

    caller: str
    large: bool
    given: anyio.Event = field(default_factory=anyio.Event)
    since: float = 0.0


class DecodeSlots:
    """`count` of them, one less for large work where there are several; for one event loop."""

    def __init__(self, count: int) -> None:
        self._free, self._free_for_large = count, max(1, count - 1)
        self._waiting: list[Slot] = []
        self._shares = FairShare()

    async def take(self, caller: str, large: bool = False) -> Slot:
        """A slot, as soon as one is free and it is the caller's turn; `give_back` has to follow."""
        slot = Slot(caller, large)
        self._shares.enqueue(caller)
        self._waiting.append(slot)
        self._give()
        try:
            await slot.given.wait()
        except BaseException:
            if slot in self._waiting:
                self._waiting.remove(slot)
            else:  # it was given at the same moment
                self.give_back(slot)
            raise
        return slot

    def give_back(self, slot: Slot) -> None:
        """The seconds since it was given are its caller's."""
        self._free += 1
        self._free_for_large += slot.large
        waiting = {other.caller for other in self._waiting}
        self._shares.charge(slot.caller, time.monotonic() - slot.since, waiting)
        self._give()

    def _give(self) -> None:
        while self._free:
            # Large work waits for a second free slot, small work takes the last one.
            fit = [slot for slot in self._waiting if self._free_for_large or not slot.large]
            if not fit:
                return
            slot = fit[self._shares.next([waiting.caller for waiting in fit])]
            self._waiting.remove(slot)
            self._free -= 1
            self._free_for_large -= slot.large
            slot.since = time.monotonic()
            slot.given.set()


class UploadPlaces:
    """For one event loop."""

    def __init__(self, count: int) -> None:
        self.limiter = anyio.CapacityLimiter(count)
        self._of = Counter[str]()

    def take(self, caller: str) -> ExitStack:
        """A place among the uploads that are received and decoded, until it is closed.

        Raises QueueFull.
        """
        limit = int(self.limiter.total_tokens)
        share = ceil(CALLER_SHARE * limit)
        # Before the total: who has too many is told so, not that the service is full.
        if self._of[caller] >= share:
            raise _crowded(f"{share} pictures of one caller", share)
        place = ExitStack()
        try:
            self.limiter.acquire_on_behalf_of_nowait(place)
        except anyio.WouldBlock:
            raise _crowded(f"{limit} pictures", limit) from None
        place.callback(self.limiter.release_on_behalf_of, place)
        self._of[caller] += 1
        place.callback(self._leave, caller)
        return place

    def _leave(self, caller: str) -> None:
        self._of[caller] -= 1
        if not self._of[caller]:
            del self._of[caller]


def _crowded(what: str, limit: int) -> QueueFull:
    return QueueFull(f"{what} are being received, which is the limit", limit=limit, retry_after=1)
