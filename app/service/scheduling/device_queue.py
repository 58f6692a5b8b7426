"""The queue before the device, in which callers take turns, however many requests each one sends.

A full queue takes from who has most in it. What can't be answered in time is refused at once.
"""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from typing import Generic, TypeVar

from app.service.scheduling.fair_share import FairShare
from app.service.scheduling.forecast import Claim, Forecast, Full
from weakpoints.errors import QueueFull

Waiting = TypeVar("Waiting")


@dataclass(frozen=True, eq=False)
class QueueEntry(Generic[Waiting]):
    """An item that waits. alone: it came when nothing else waited or ran."""

    item: Waiting
    claim: Claim
    alone: bool = False


class DeviceQueue(Generic[Waiting]):
    """At most `max_waiting` items that wait, and `max_pixels` of pictures in memory.

    Any number of threads may use it.
    """

    def __init__(self, max_waiting: int, max_pixels: int) -> None:
        self.max_waiting, self.max_pixels = max_waiting, max_pixels
        self._waiting: list[QueueEntry[Waiting]] = []
        self._held = 0  # pixels
        self._shares = FairShare()
        self._forecast = Forecast(self._shares)
        self._closed = False
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return len(self._waiting)

    def check(self, claim: Claim) -> None:
        """Raises QueueFull where `put` would."""
        with self._locked():
            self._forecast.check(claim, self._claims())
            self._leaving(claim)

    def put(self, item: Waiting, claim: Claim) -> list[Waiting]:
        """Returns the items that lost their places to it, those of who holds most.

        Raises QueueFull.
        """
        with self._locked():
            self._forecast.check(claim, self._claims())
            leaving = self._remove(self._leaving(claim))
            self._shares.enqueue(claim.caller)
            # Nothing else needs the device: even if it will be late, nobody loses by it.
            alone = self._forecast.idle and not self._waiting
            self._waiting.append(QueueEntry(item, claim, alone))
            self._changed.notify()
        return leaving

    def hold(self, claim: Claim) -> list[Waiting]:
        """As `put`, for a picture's pixels, until `release`."""
        with self._locked():
            leaving = self._remove(self._leaving(claim, pixels=True))
            self._held += claim.pixels
        return leaving

    def release(self, claim: Claim) -> None:
        with self._changed:
            self._held -= claim.pixels

    def take(self, most: int) -> tuple[list[Waiting], list[Waiting]]:
        """The next items, at least one, and those that can't be finished in time any more.

        None at all once closed and empty. `done` has to follow for each of the first.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            taken, late = list[QueueEntry[Waiting]](), list[QueueEntry[Waiting]]()
            while self._waiting and len(taken) < most:
                # Again before each: those taken just now have moved the others back.
                late += self._take_late()
                if self._waiting:
                    index = self._shares.next([entry.claim.caller for entry in self._waiting])
                    taken.append(self._waiting.pop(index))
            for entry in taken:
                self._forecast.begin(entry.claim)
        return [entry.item for entry in taken], [entry.item for entry in late]

    def next_preemptor(self, claim: Claim, seconds: float) -> Waiting | None:
        """What goes before the next step of an expensive one that has had so many seconds.

        It is the next that is not expensive, of a caller that has had less. `done` has to follow.
        """
        with self._changed:
            cheap = [entry for entry in self._waiting if not entry.claim.expensive]
            callers = [entry.claim.caller for entry in cheap]
            index = self._shares.next_preemptor(callers, claim.caller, seconds)
            if index is None:
                return None
            entry = cheap[index]
            self._waiting.remove(entry)
            self._forecast.begin(entry.claim)
        return entry.item

    def done(self, claim: Claim, seconds: float, answered: bool = True) -> None:
        """What was taken has had so many seconds of the device, and was answered or given up."""
        with self._changed:
            waiting = {entry.claim.caller for entry in self._waiting}
            self._shares.charge(claim.caller, seconds, waiting)
            self._forecast.end(claim, seconds, answered)

    def remove(self, item: Waiting) -> None:
        """Gives its place back, if it still waits."""
        with self._changed:
            self._waiting = [entry for entry in self._waiting if entry.item is not item]

    def close(self) -> None:
        """Nothing comes any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def refusal(self, full: Full) -> QueueFull:
        """What its caller is told, and after how many seconds to try again."""
        with self._changed:
            wait = full.retry_after or self._forecast.seconds_of_all(self._claims())
        seconds = max(1, ceil(wait))
        actual = {} if full.actual is None else {"actual": full.actual}
        detail = f"{full}; try again in {seconds} s"
        return QueueFull(detail, limit=full.limit, retry_after=seconds, **actual)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Turns Full into QueueFull."""
        try:
            with self._changed:
                yield
        except Full as full:
            raise self.refusal(full) from None

    def _claims(self) -> list[Claim]:
        return [entry.claim for entry in self._waiting]

    def _take_late(self) -> list[QueueEntry[Waiting]]:
        """Those for which the device's seconds would be lost."""
        late = [
            entry
            for entry in self._waiting
            if not entry.alone and self._forecast.is_late(entry.claim)
        ]
        self._waiting = [entry for entry in self._waiting if entry not in late]
        return late

    def _remove(self, leaving: list[QueueEntry[Waiting]]) -> list[Waiting]:
        self._waiting = [entry for entry in self._waiting if entry not in leaving]
        return [entry.item for entry in leaving]

    def _leaving(self, claim: Claim, pixels: bool = False) -> list[QueueEntry[Waiting]]:
        """What has to leave so that there is a place for the claim, or room for its `pixels`.

        Raises Full where nobody holds more than its caller.
        """
        leaving: list[QueueEntry[Waiting]] = []
        while full := self._lacks_pixels(claim, leaving) if pixels else self._lacks_place(leaving):
            left = [entry for entry in self._waiting if entry not in leaving]
            last = _last_of_the_largest(left, claim, pixels)
            if last is None:
                raise full
            leaving.append(last)
        return leaving

    def _lacks_place(self, leaving: list[QueueEntry[Waiting]]) -> Full | None:
        if len(self._waiting) - len(leaving) < self.max_waiting:
            return None
        detail = f"{self.max_waiting} requests are waiting, which is the limit"
        return Full(detail, self.max_waiting)

    def _lacks_pixels(self, claim: Claim, leaving: list[QueueEntry[Waiting]]) -> Full | None:
        held = self._held - sum(entry.claim.pixels for entry in leaving)
        # One picture always fits. Beside others it leaves as many pixels free as it has: so a
        # smaller one finds room whatever large ones are held.
        if not held or held + 2 * claim.pixels <= self.max_pixels:
            return None
        detail = (
            f"pictures at work have {held} pixels; one of {claim.pixels} has to leave as many "
            f"free, and {self.max_pixels} is the limit"
        )
        return Full(detail, self.max_pixels)


def _last_of_the_largest(
    entries: list[QueueEntry[Waiting]], claim: Claim, pixels: bool
) -> QueueEntry[Waiting] | None:
    """The last entry of the caller that holds most, of `pixels` or of places.

    None where that is not more than the claim's caller would hold.
    """
    held = Counter({claim.caller: claim.pixels if pixels else 1})
    for entry in entries:
        held[entry.claim.caller] += entry.claim.pixels if pixels else 1
    largest = max(held, key=held.__getitem__)
    if held[largest] <= held[claim.caller]:
        return None
    return next(entry for entry in reversed(entries) if entry.claim.caller == largest)
