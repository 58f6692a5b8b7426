"""How much each caller has had of something that all of them share; who had least is next.

Fair queueing (Demers, Keshav and Shenker 1989) with prices that are measured: a caller's clock is
wound on by the seconds that its requests took, and a newcomer's begins at the time of all, which
goes on as if each of those that are there had its equal part. So neither many requests nor many
newcomers keep one that waits from its turn.
"""

from collections import Counter
from collections.abc import Collection, Sequence

FORGETS = 0.9  # of what was expected, for each request


class Clocks:
    """Not for several threads at once."""

    def __init__(self) -> None:
        self._now = 0.0
        self._clock: dict[str, float] = {}
        self._running = Counter[str]()
        self._expected = 1.0  # seconds of a request that has begun, until it has ended

    def come(self, caller: str) -> None:
        """A request of this caller waits from now on."""
        self._clock[caller] = max(self._clock.get(caller, 0.0), self._now)

    def first(self, callers: Sequence[str]) -> int:
        """Which of the waiting requests is next, by their callers in the order they came."""
        chosen = min(range(len(callers)), key=lambda i: self._behind(callers[i]))
        self._running[callers[chosen]] += 1
        return chosen

    def passing(self, callers: Sequence[str], caller: str, seconds: float) -> int | None:
        """As `first`, of those who have had less than one whose request has had so many seconds."""
        had = self._clock[caller] + seconds
        return self.first(callers) if any(self._behind(each) < had for each in callers) else None

    def had(self, caller: str, seconds: float, waiting: Collection[str]) -> None:
        """A request that was chosen has ended. waiting: the callers of those that wait."""
        self._running[caller] -= 1
        self._clock[caller] += seconds
        self._expected += (1 - FORGETS) * (seconds - self._expected)
        self._running = +self._running  # without those that have none
        there = {caller, *waiting, *self._running}
        self._now += seconds / len(there)
        self._clock = {
            who: clock for who, clock in self._clock.items() if clock > self._now or who in there
        }

    def _behind(self, caller: str) -> float:
        return self._clock[caller] + self._expected * self._running[caller]
