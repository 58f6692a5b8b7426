"""How many pictures are received and decoded at the same time, and how many of one caller."""

from collections import Counter
from contextlib import ExitStack
from math import ceil

import anyio

from weakpoints.errors import QueueFull

SHARE = 3 / 4  # for one caller at most: the others always find a place


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
        share = ceil(SHARE * limit)
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
