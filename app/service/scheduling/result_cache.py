"""The last answers, so that `/heatmap` after `/detect` of the same photograph is immediate."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from zlib import crc32

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray

from weakpoints.method.localization import Localization
from weakpoints.options import Options

Key = tuple[bytes, Options]
log = logging.getLogger("weakpoints")


def key(data: bytes, options: Options) -> Key:
    """SHA-256 of the uploaded file, and the options; a process has one network only."""
    return sha256(data).digest(), options


@dataclass(frozen=True)
class Entry:
    """An answer, the bytes of its maps, and their checksum when it was put in."""

    found: Localization
    size: int
    checksum: int


class Cache:
    """At most `limit` bytes of maps; the least recently used answer goes first.

    An answer that was damaged in memory is forgotten. For the event loop's thread only.
    """

    def __init__(self, limit: int) -> None:
        self._kept: LRUCache[Key, Entry] = LRUCache(limit, lambda entry: entry.size)

    def __contains__(self, key: Key) -> bool:
        return self.get(key) is not None

    def get(self, key: Key) -> Localization | None:
        """The answer, or None."""
        entry = self._kept.get(key)
        if entry is None:
            return None
        if _checksum(entry.found) != entry.checksum:
            log.error("a kept answer was damaged in memory; it is worked out anew")
            del self._kept[key]
            return None
        return entry.found

    def put(self, key: Key, found: Localization) -> None:
        """Keeps the answer, unless it is larger than the whole cache."""
        size = sum(values.nbytes for values in _arrays(found))
        if size <= self._kept.maxsize:
            self._kept[key] = Entry(found, size, _checksum(found))


def _arrays(found: Localization) -> Iterator[NDArray[np.float64]]:
    """The maps and drops of each class, which are by far the largest part."""
    for each in found.explained:
        yield from (each.maps.fused, each.maps.coarse, each.maps.fine)
        yield from (each.drops, each.standard_errors)


def _checksum(found: Localization) -> int:
    """CRC-32 of them: it takes about 1 ms a class."""
    checksum = 0
    for values in _arrays(found):
        checksum = crc32(values.tobytes(), checksum)
    return checksum
