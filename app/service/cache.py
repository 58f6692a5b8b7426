"""The last answers, so that `/heatmap` after `/detect` of the same photograph is immediate."""

import logging
from collections import OrderedDict
from functools import reduce
from hashlib import sha256
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from app.method.localization import Localization
from app.options import Options

Key = tuple[bytes, Options]
log = logging.getLogger("weakpoints")


def key(data: bytes, options: Options) -> Key:
    """Of the file as it came; the network is the same as long as the process lives."""
    return sha256(data).digest(), options


class Cache:
    """At most so many bytes of maps, the least recently used go first; damaged ones are forgotten. For the event loop's thread only."""

    def __init__(self, limit: int) -> None:
        self._limit, self._bytes = limit, 0
        self._kept: OrderedDict[Key, tuple[Localization, int]] = OrderedDict()

    def get(self, key: Key) -> Localization | None:
        if key not in self._kept:
            return None
        self._kept.move_to_end(key)
        found, sum_then = self._kept[key]
        if _checksum(found) != sum_then:
            log.error("a kept answer was damaged in memory; it is worked out anew")
            self._forget(key)
            return None
        return found

    def put(self, key: Key, found: Localization) -> None:
        if key in self._kept:
            self._forget(key)
        self._bytes += _size(found)
        self._kept[key] = found, _checksum(found)
        while self._bytes > self._limit:
            self._forget(next(iter(self._kept)))

    def _forget(self, key: Key) -> None:
        self._bytes -= _size(self._kept.pop(key)[0])


def _maps(found: Localization) -> tuple[NDArray[np.float64], ...]:
    return found.maps.fused, found.maps.coarse, found.maps.fine


def _size(found: Localization) -> int:
    return sum(values.nbytes for values in _maps(found))


def _checksum(found: Localization) -> int:
    """Of the maps, which are by far the largest part: a millisecond."""
    return reduce(lambda known, values: crc32(values.tobytes(), known), _maps(found), 0)
