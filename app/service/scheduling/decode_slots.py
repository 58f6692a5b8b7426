"""A few slots for much work, given out in turns among callers.

What has begun is not interrupted. So the last free slot is for small work alone: large work never
keeps it waiting, however much of it there is.
"""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio

from app.service.scheduling.fair_share import Clocks


@dataclass(frozen=True, eq=False)
class _Place:
    caller: str
    large: bool
    given: anyio.Event = field(default_factory=anyio.Event)


class Slots:
    """`count` of them, one less for large work where there are several; for one event loop."""

    def __init__(self, count: int) -> None:
        self._free, self._free_for_large = count, max(1, count - 1)
        self._waiting: list[_Place] = []
        self._clocks = Clocks()

    @asynccontextmanager
    async def one(self, caller: str, large: bool = False) -> AsyncIterator[None]:
        """A slot, as soon as one is free and it is the caller's turn."""
        place = _Place(caller, large)
        self._clocks.come(caller)
        self._waiting.append(place)
        self._give()
        try:
            await place.given.wait()
        except BaseException:
            if place in self._waiting:
                self._waiting.remove(place)
            else:  # it was given one at the same moment
                self._back(place, 0.0)
            raise
        start = time.monotonic()
        try:
            yield
        finally:
            self._back(place, time.monotonic() - start)

    def _give(self) -> None:
        while self._free:
            fit = [place for place in self._waiting if self._free_for_large or not place.large]
            if not fit:
                return
            place = fit[self._clocks.first([each.caller for each in fit])]
            self._waiting.remove(place)
            self._free -= 1
            self._free_for_large -= place.large
            place.given.set()

    def _back(self, place: _Place, seconds: float) -> None:
        self._free += 1
        self._free_for_large += place.large
        self._clocks.had(place.caller, seconds, {each.caller for each in self._waiting})
        self._give()
