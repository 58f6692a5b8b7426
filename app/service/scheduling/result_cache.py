"""The last answers, so that `/heatmap` after `/detect` of the same photograph is immediate."""

from hashlib import sha256

from cachetools import LRUCache

from weakpoints.method.localization import Localization
from weakpoints.options import Options

Key = tuple[bytes, Options]


def key(data: bytes, options: Options) -> Key:
    """SHA-256 of the uploaded file, and the options; a process has one network only."""
    return sha256(data).digest(), options


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
