"""When a request will be answered, by what waits before it and by how long others took.

What can't be in time is not begun.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from app.service.scheduling.fair_share import FairShare

KNOWN_COSTS = 256  # costs whose seconds are kept, the ones last seen
MEAN, DEVIATION = 1 / 4, 1 / 4  # weight of the newest measurement
DEVIATIONS = 2  # deviations above the mean, within which nearly all requests of a cost end


@dataclass(frozen=True)
class Claim:
    """What a request asks of the queue.

    pixels: of its picture. expensive: whether it takes so long that others may be answered between
    two of its steps. cost: how much dearer it is than others, see `Pace`. until: when its caller
    goes, on time.monotonic's clock.
    """

    caller: str = ""
    pixels: int = 0
    expensive: bool = False
    cost: int = 0
    until: float = math.inf


class Full(Exception):
    """The limit that is reached, in words, and its number.

    retry_after: seconds after which there may be room; 0: when all that waits is done. actual: what
    the claim comes to.
    """

    def __init__(
        self, detail: str, limit: float, retry_after: float = 0.0, actual: float | None = None
    ) -> None:
        super().__init__(detail)
        self.limit, self.retry_after, self.actual = limit, retry_after, actual


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
        if len(self._measured) > KNOWN_COSTS:
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
        margin = DEVIATIONS * self._measured[cost].deviation if cost in self._measured else 0.0
        return self.expected(cost) + margin


@dataclass(frozen=True)
class _Running:
    claim: Claim
    began: float  # on time.monotonic's clock


class Forecast:
    """Not for several threads at once."""

    def __init__(self, shares: FairShare) -> None:
        """shares: say in which order callers take turns."""
        self._shares, self._pace = shares, Pace()
        self._running: list[_Running] = []

    @property
    def idle(self) -> bool:
        """Whether the device has nothing to do."""
        return not self._running

    def begin(self, claim: Claim) -> None:
        self._running.append(_Running(claim, time.monotonic()))

    def end(self, claim: Claim, seconds: float, answered: bool) -> None:
        """It had so many seconds of the device, and was answered or given up."""
        self._running = [other for other in self._running if other.claim is not claim]
        measure = self._pace.measure if answered else self._pace.measure_part
        measure(claim.cost, seconds)

    def is_late(self, claim: Claim) -> bool:
        """Whether it would end after its caller has gone, begun now."""
        return time.monotonic() + self._pace.at_most(claim.cost) > claim.until

    def check(self, claim: Claim, waiting: Sequence[Claim]) -> None:
        """Raises Full where the answer can't be expected before the claim's caller goes.

        A device that has nothing to do begins whatever comes: so a pace that was measured in a bad
        moment is measured again.
        """
        if math.isinf(claim.until) or (self.idle and not waiting):
            return
        left = max(0.0, claim.until - time.monotonic())
        wait, own = self._wait(claim, waiting), self._pace.at_most(claim.cost)
        if wait + own > left:
            raise Full(
                f"the answer is expected after {wait + own:.1f} s and its caller waits {left:.1f}",
                limit=round(left, 1),
                actual=round(wait + own, 1),
                retry_after=wait + own - left if own <= left else wait,
            )

    def seconds_of_all(self, waiting: Sequence[Claim]) -> float:
        """Until all that runs and waits is done, if nothing else comes."""
        return self._left(True) + sum(self._pace.expected(claim.cost) for claim in waiting)

    def _wait(self, claim: Claim, waiting: Sequence[Claim]) -> float:
        """Seconds until it is its turn, if nothing else comes."""
        everyone = [*waiting, claim]
        seconds = [self._pace.expected(other.cost) for other in everyone]
        wait = self._left(claim.expensive)
        for index in self._shares.order([other.caller for other in everyone], seconds):
            if index == len(waiting):
                break
            wait += seconds[index]
        return wait

    def _left(self, expensive: bool) -> float:
        """Seconds of what runs. An expensive request lets one that is not go before its steps."""
        now = time.monotonic()
        return sum(
            max(0.0, self._pace.expected(running.claim.cost) - (now - running.began))
            for running in self._running
            if expensive or not running.claim.expensive
        )
