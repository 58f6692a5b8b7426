"""A photograph on its way: what is asked of it, what it has become, and the last answers.

So `/heatmap` after `/detect` of the same photograph is immediate.
"""

from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray

from app.service.scheduling.forecast import Claim
from weakpoints.method.localization import Localization
from weakpoints.method.stages import Prepared
from weakpoints.method.stopwatch import Stopwatch
from weakpoints.options import Options, ResolvedOptions

Key = tuple[bytes, Options]


def key(data: bytes, options: Options) -> Key:
    """SHA-256 of the uploaded file, and the options; a process has one network only."""
    return sha256(data).digest(), options


@dataclass(frozen=True)
class PhotographRequest:
    """A file, and what is asked of it. until: when its caller goes, on time.monotonic's clock."""

    data: bytes
    options: ResolvedOptions
    clock: Stopwatch
    caller: str
    until: float


@dataclass(frozen=True)
class ReceivedPhotograph:
    """A photograph of which all that can be refused about it was refused; `key` is its answer's.

    known: its answer, by the cache; else it waits for the device. image: its pixels, None where
    they were not needed.
    """

    key: Key
    known: Localization | None
    image: NDArray[np.uint8] | None
    waiting: tuple[Prepared, Claim] | None


class ResultCache:
    """At most `limit` bytes of arrays; the least recently used answer goes first.

    For the event loop's thread only.
    """

    def __init__(self, limit: int) -> None:
        self._kept: LRUCache[Key, Localization] = LRUCache(limit, _array_bytes)

    def get(self, key: Key) -> Localization | None:
        """The answer, or None."""
        return self._kept.get(key)

    def put(self, key: Key, answer: Localization) -> None:
        """Keeps the answer, unless it is larger than the whole cache."""
        # LRUCache raises for what is larger than itself.
        if _array_bytes(answer) <= self._kept.maxsize:
            self._kept[key] = answer


def _array_bytes(answer: Localization) -> int:
    """Of the maps and drops of each class: by far the largest part of an answer."""
    return sum(
        array.nbytes
        for explained in answer.explained
        for array in (
            explained.maps.fused,
            explained.maps.coarse,
            explained.maps.fine,
            explained.drops,
            explained.standard_errors,
        )
    )
