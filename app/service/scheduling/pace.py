"""How long requests take on this device, as measured: what tells whether one can be in time."""

from collections import OrderedDict
from dataclasses import dataclass

KINDS = 256  # costs whose seconds are kept, the ones last seen
MEAN, DEVIATION = 1 / 4, 1 / 4  # weight of the newest measurement
MARGIN = 2  # deviations above the mean, within which nearly all requests of a cost end


@dataclass
class _Seconds:
    """As TCP estimates a round trip (Jacobson 1988): a moving mean, and its mean deviation."""

    mean: float
    deviation: float

    def add(self, seconds: float) -> None:
        self.deviation += DEVIATION * (abs(seconds - self.mean) - self.deviation)
        self.mean += MEAN * (seconds - self.mean)


class Pace:
    """Seconds by cost: a number that says how much dearer one request is than another.

    Not for several threads at once.
    """

    def __init__(self) -> None:
        self._measured: OrderedDict[int, _Seconds] = OrderedDict()

    def measure(self, cost: int, seconds: float) -> None:
        """A request of this cost took so many seconds."""
        if cost in self._measured:
            self._measured[cost].add(seconds)
        else:
            self._measured[cost] = _Seconds(seconds, seconds / 4)
        self._measured.move_to_end(cost)
        if len(self._measured) > KINDS:
            self._measured.popitem(last=False)

    def measure_part(self, cost: int, seconds: float) -> None:
        """One that was given up after so many seconds: it would have taken longer."""
        if seconds > self.expected(cost):
            self.measure(cost, seconds)

    def expected(self, cost: int) -> float:
        """The mean; of a cost that was never seen, by the nearest that was. 0: nothing is known."""
        if cost in self._measured:
            return self._measured[cost].mean
        if not self._measured:
            return 0.0
        # Dearer ones in proportion. Cheaper ones are not taken for that much quicker: there is
        # work that each request has, whatever it costs.
        nearest = min(self._measured, key=lambda known: abs(known - cost))
        return self._measured[nearest].mean * max(1.0, cost / max(nearest, 1))

    def at_most(self, cost: int) -> float:
        """What nearly all of this cost take."""
        margin = MARGIN * self._measured[cost].deviation if cost in self._measured else 0.0
        return self.expected(cost) + margin
