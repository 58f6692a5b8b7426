"""When a request will be answered, by what waits before it: what can't be in time is not begun."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from app.service.scheduling.claims import Claim, Full
from app.service.scheduling.fair_share import FairShare
from app.service.scheduling.pace import Pace


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
