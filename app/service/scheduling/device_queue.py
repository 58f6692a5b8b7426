"""The queue before the device, in which callers take turns, however many requests each one sends.

A full queue takes from who holds most.
"""

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from app.service.scheduling.fair_share import FairShare

T = TypeVar("T")


@dataclass(frozen=True)
class Claim:
    """What a request asks of the queue.

    pixels: of its picture. dear: whether it takes so long that others may pass it while it is
    worked on.
    """

    caller: str = ""
    pixels: int = 0
    dear: bool = False


class Full(Exception):
    """The limit that is reached, in words, and its number."""

    def __init__(self, detail: str, limit: int) -> None:
        super().__init__(detail)
        self.limit = limit


@dataclass(frozen=True, eq=False)
class _Place(Generic[T]):
    item: T
    claim: Claim


Amount = Callable[[Claim], int]
"""How much of what is short a claim has."""
Lacks = Callable[[Claim, list[_Place[T]]], Full | None]
"""What there would be too much of with a claim, after some have left."""


class Turns(Generic[T]):
    """At most `places` items that wait, and `pixels` of pictures that are held.

    Any number of threads may use it.
    """

    def __init__(self, places: int, pixels: int) -> None:
        self.places, self.pixels = places, pixels
        self._waiting: list[_Place[T]] = []
        self._held = 0  # pixels
        self._shares = FairShare()
        self._closed = False
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return len(self._waiting)

    def check(self, claim: Claim) -> None:
        """Raises Full where `put` would."""
        with self._changed:
            self._leaving(claim, self._lacks_places, _one)

    def put(self, item: T, claim: Claim) -> list[T]:
        """Returns the items that lost their places to it, those of who holds most. Raises Full."""
        with self._changed:
            leaving = self._sent_away(claim, self._lacks_places, _one)
            self._shares.enqueue(claim.caller)
            self._waiting.append(_Place(item, claim))
            self._changed.notify()
        return leaving

    def hold(self, claim: Claim) -> list[T]:
        """As `put`, for a picture's pixels, until `release`.

        One picture always fits. Beside others it has to leave as many pixels free as it has, so
        that a smaller one finds room whatever large ones are held.
        """
        with self._changed:
            leaving = self._sent_away(claim, self._lacks_pixels, _pixels)
            self._held += claim.pixels
        return leaving

    def release(self, claim: Claim) -> None:
        with self._changed:
            self._held -= claim.pixels

    def take(self, most: int) -> list[T]:
        """The next items, at least one; none once closed and empty. `done` has to follow."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            found = list[_Place[T]]()
            while self._waiting and len(found) < most:
                next_one = self._shares.next([place.claim.caller for place in self._waiting])
                found.append(self._waiting.pop(next_one))
        return [place.item for place in found]

    def passing(self, claim: Claim, seconds: float) -> T | None:
        """What passes a dear one that has had so many seconds and has not ended.

        It is the next that is not dear, of a caller that has had less. `done` has to follow.
        """
        with self._changed:
            cheap = [place for place in self._waiting if not place.claim.dear]
            callers = [place.claim.caller for place in cheap]
            n = self._shares.next_preemptor(callers, claim.caller, seconds)
            if n is None:
                return None
            self._waiting.remove(cheap[n])
        return cheap[n].item

    def done(self, claim: Claim, seconds: float) -> None:
        """What was taken has had so many seconds of the device."""
        with self._changed:
            self._shares.charge(claim.caller, seconds, self._callers())

    def remove(self, item: T) -> None:
        """Gives its place back, if it still waits."""
        with self._changed:
            self._waiting = [place for place in self._waiting if place.item is not item]

    def close(self) -> None:
        """Nothing comes any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _callers(self) -> set[str]:
        return {place.claim.caller for place in self._waiting}

    def _sent_away(self, claim: Claim, lacks: Lacks[T], amount: Amount) -> list[T]:
        leaving = self._leaving(claim, lacks, amount)
        self._waiting = [place for place in self._waiting if place not in leaving]
        return [place.item for place in leaving]

    def _leaving(self, claim: Claim, lacks: Lacks[T], amount: Amount) -> list[_Place[T]]:
        """What has to leave for the claim. Raises Full where nobody holds more than its caller."""
        leaving: list[_Place[T]] = []
        while full := lacks(claim, leaving):
            left = [place for place in self._waiting if place not in leaving]
            last = _last_of_the_largest(left, claim, amount)
            if last is None:
                raise full
            leaving.append(last)
        return leaving

    def _lacks_places(self, claim: Claim, leaving: list[_Place[T]]) -> Full | None:
        if len(self._waiting) - len(leaving) < self.places:
            return None
        return Full(f"{self.places} requests are waiting, which is the limit", self.places)

    def _lacks_pixels(self, claim: Claim, leaving: list[_Place[T]]) -> Full | None:
        held = self._held - sum(place.claim.pixels for place in leaving)
        if not held or held + 2 * claim.pixels <= self.pixels:
            return None
        detail = (
            f"pictures at work have {held} pixels; one of {claim.pixels} has to leave as many "
            f"free, and {self.pixels} is the limit"
        )
        return Full(detail, self.pixels)


def _one(claim: Claim) -> int:
    return 1


def _pixels(claim: Claim) -> int:
    return claim.pixels


def _last_of_the_largest(places: list[_Place[T]], claim: Claim, amount: Amount) -> _Place[T] | None:
    """The last place of the caller that holds most; None where that is not more than the claim's
    caller would hold.
    """
    held = Counter[str]()
    for place in places:
        held[place.claim.caller] += amount(place.claim)
    largest = max(held, key=held.__getitem__, default=claim.caller)
    if largest == claim.caller or held[largest] <= held[claim.caller] + amount(claim):
        return None
    return next(place for place in reversed(places) if place.claim.caller == largest)
