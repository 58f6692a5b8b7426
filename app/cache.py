"""The last answers, so that `/heatmap` after `/detect` of the same photograph is immediate."""

from collections import OrderedDict
from hashlib import sha256

from app.options import Options
from app.pipeline import Localization

Key = tuple[bytes, Options]


def key(data: bytes, options: Options) -> Key:
    """Of the file as it came; the network is the same as long as the process lives."""
    return sha256(data).digest(), options


class Cache:
    """At most so many bytes of maps, the least recently used go first. For the event loop's thread only."""

    def __init__(self, limit: int) -> None:
        self._limit, self._bytes = limit, 0
        self._kept: OrderedDict[Key, Localization] = OrderedDict()

    def get(self, key: Key) -> Localization | None:
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def put(self, key: Key, found: Localization) -> None:
        self._bytes += _size(found) - (_size(self._kept.pop(key)) if key in self._kept else 0)
        self._kept[key] = found
        while self._bytes > self._limit:
            _, dropped = self._kept.popitem(last=False)
            self._bytes -= _size(dropped)


def _size(found: Localization) -> int:
    maps = found.maps
    return maps.fused.nbytes + maps.coarse.nbytes + maps.fine.nbytes
