"""The queue before the device, in which callers take turns, however many requests each one sends.

Start-time fair queueing (Goyal, Vin and Cheng 1996): a caller's requests wind a clock of its own by
their price, and the request that begins earliest on these clocks is next. A full queue takes from
who holds most.
"""

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Claim:
    """What a request asks of the queue.

    price: its device time, in any unit that all of them share. pixels: of its picture.
    """

    caller: str = ""
    price: float = 1.0
    pixels: int = 0


class Full(Exception):
    """The limit that is reached, in words, and its number."""

    def __init__(self, detail: str, limit: int) -> None:
        super().__init__(detail)
        self.limit = limit


@dataclass(frozen=True, eq=False)
class _Place(Generic[T]):
    item: T
    claim: Claim
    start: float


class Turns(Generic[T]):
    """At most `places` items that wait, and `pixels` of those that wait or are worked on.

    Any number of threads may use it.
    """

    def __init__(self, places: int, pixels: int) -> None:
        self.places, self.pixels = places, pixels
        self._waiting: list[_Place[T]] = []
        self._held = 0  # pixels
        self._now = 0.0
        self._ends: dict[str, float] = {}  # of each caller's last request, on its clock
        self._closed = False
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return len(self._waiting)

    def check(self, claim: Claim) -> None:
        """Raises Full where `put` would."""
        with self._changed:
            self._leaving(claim)

    def put(self, item: T, claim: Claim) -> list[T]:
        """Returns the items that lost their places to it, those of who holds most. Raises Full."""
        with self._changed:
            leaving = self._leaving(claim)
            for place in leaving:
                self._drop(place)
            start = max(self._now, self._ends.get(claim.caller, 0.0))
            self._ends[claim.caller] = start + claim.price
            self._waiting.append(_Place(item, claim, start))
            self._held += claim.pixels
            self._changed.notify()
        return [place.item for place in leaving]

    def take(self, most: int) -> list[T]:
        """The next items, at least one; none once closed and empty. `done` has to follow."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            found = sorted(self._waiting, key=lambda place: place.start)[:most]
            for place in found:
                self._waiting.remove(place)
                self._now = place.start
            self._ends = {who: end for who, end in self._ends.items() if end > self._now}
        return [place.item for place in found]

    def done(self, claim: Claim) -> None:
        """What was taken is no longer held."""
        with self._changed:
            self._held -= claim.pixels

    def remove(self, item: T) -> None:
        """Gives its place back, if it still waits."""
        with self._changed:
            for place in [each for each in self._waiting if each.item is item]:
                self._drop(place)

    def close(self) -> None:
        """Nothing comes any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _drop(self, place: _Place[T]) -> None:
        self._waiting.remove(place)
        self._held -= place.claim.pixels
        self._ends[place.claim.caller] -= place.claim.price

    def _leaving(self, claim: Claim) -> list[_Place[T]]:
        """What has to leave for the claim. Raises Full where nobody holds more than its caller."""
        left, leaving = list(self._waiting), list[_Place[T]]()
        while lack := self._lack(claim, left):
            full, amount = lack
            last = _last_of_the_largest(left, claim, amount)
            if last is None:
                raise full
            left.remove(last)
            leaving.append(last)
        return leaving

    def _lack(
        self, claim: Claim, left: list[_Place[T]]
    ) -> tuple[Full, Callable[[Claim], int]] | None:
        """What there would be too much of with the claim, and how much of it a claim takes."""
        if len(left) >= self.places:
            detail = f"{self.places} requests are waiting, which is the limit"
            return Full(detail, self.places), lambda claim: 1
        gone = _pixels(self._waiting) - _pixels(left)
        held = self._held - gone + claim.pixels
        if held > max(self.pixels, claim.pixels):
            detail = (
                f"the pictures that wait would have {held} pixels, and {self.pixels} is the limit"
            )
            return Full(detail, self.pixels), lambda claim: claim.pixels
        return None


def _pixels(places: list[_Place[T]]) -> int:
    return sum(place.claim.pixels for place in places)


def _last_of_the_largest(
    places: list[_Place[T]], claim: Claim, amount: Callable[[Claim], int]
) -> _Place[T] | None:
    """The last place of the caller that holds most; None where the claim's caller would hold more
    than is left to that one.
    """
    held = Counter[str]()
    for place in places:
        held[place.claim.caller] += amount(place.claim)
    if not held:
        return None
    largest = max(held, key=held.__getitem__)
    last = next(place for place in reversed(places) if place.claim.caller == largest)
    left = held[largest] - amount(last.claim)
    if largest == claim.caller or left < held[claim.caller] + amount(claim):
        return None
    return last
