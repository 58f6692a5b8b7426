"""A few slots for much work, given out in turns among callers."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from app.service.clocks import Clocks


class Slots:
    """`count` of them; for one event loop."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: list[tuple[str, anyio.Event]] = []
        self._clocks = Clocks()

    @asynccontextmanager
    async def one(self, caller: str) -> AsyncIterator[None]:
        """A slot, as soon as one is free and it is the caller's turn."""
        place = (caller, anyio.Event())
        self._clocks.come(caller)
        self._waiting.append(place)
        self._give()
        try:
            await place[1].wait()
        except BaseException:
            if place in self._waiting:
                self._waiting.remove(place)
            else:  # it was given one at the same moment
                self._back(caller, 0.0)
            raise
        start = time.monotonic()
        try:
            yield
        finally:
            self._back(caller, time.monotonic() - start)

    def _give(self) -> None:
        while self._free and self._waiting:
            _, given = self._waiting.pop(self._clocks.first([who for who, _ in self._waiting]))
            self._free -= 1
            given.set()

    def _back(self, caller: str, seconds: float) -> None:
        self._free += 1
        self._clocks.had(caller, seconds, {who for who, _ in self._waiting})
        self._give()
