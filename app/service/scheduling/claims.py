"""What a request asks of the device's queue, and why it may not get it."""

import math
from dataclasses import dataclass


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
