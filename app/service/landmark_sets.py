"""The landmark sets of the service's folder, each loaded when it is asked for."""

import re
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from cachetools import LRUCache

from weakpoints.errors import BadLandmarkSet, NotAllowed, Unavailable, UnknownLandmarks
from weakpoints.landmarks.landmark_set import SUFFIX, LandmarkSet, summary

NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}")
KEPT = 256 * 2**20  # bytes of sets in memory; one that is larger is read anew each time


class LandmarkSets:
    """A folder of `NAME.landmarks`. A file that changes is read again. For any thread."""

    def __init__(self, folder: Path | None, writable: bool) -> None:
        self._folder, self.writable = folder, writable and folder is not None
        self._kept: LRUCache[tuple[Any, ...], LandmarkSet] = LRUCache(KEPT, memory_of)
        self._lock = threading.Lock()  # of the cache, which is for one thread

    def get(self, name: str) -> LandmarkSet:
        """Raises UnknownLandmarks, and BadLandmarkSet for a file that is damaged."""
        path = self._path(name)
        try:
            state = path.stat()
            key = (name, state.st_mtime_ns, state.st_size)
            with self._lock:
                if known := self._kept.get(key):
                    return known
            loaded = LandmarkSet.load(path)
        except FileNotFoundError:
            raise self._unknown(name) from None
        with self._lock, suppress(ValueError):  # larger than the cache
            self._kept[key] = loaded
        return loaded

    def cards(self, network: str) -> tuple[list[dict[str, Any]], dict[str, str]]:
        """What to tell of each set, and of the files that can't be read, why."""
        cards, broken = [], {}
        for name in self.names():
            try:
                kept = self.get(name)
            except UnknownLandmarks:  # deleted since the folder was read
                continue
            except (BadLandmarkSet, OSError) as error:
                broken[name] = str(error)
            else:
                cards.append(summary(name, kept) | {"usable": kept.pattern.network == network})
        return cards, broken

    def put(self, name: str, learnt: LandmarkSet) -> None:
        """Raises as `check_writable`, and Unavailable where the folder can't be written."""
        self.check_writable(name)
        path = self._path(name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            learnt.save(path)
        except OSError as error:
            raise Unavailable(
                f"the landmark set {name!r} can't be kept: {error.strerror}"
            ) from error

    def delete(self, name: str) -> None:
        """Raises as `check_writable`."""
        self.check_writable(name)
        try:
            self._path(name).unlink()
        except FileNotFoundError:
            raise self._unknown(name) from None

    def check_writable(self, name: str) -> None:
        """Raises NotAllowed, and UnknownLandmarks for what can be no name."""
        if not self.writable:
            raise NotAllowed(
                "landmark sets are not kept here: WEAKPOINTS_LANDMARKS_WRITABLE is off, "
                "or WEAKPOINTS_LANDMARKS names no folder"
            )
        self._path(name)

    def _path(self, name: str) -> Path:
        if self._folder is None or not NAME.fullmatch(name):
            raise self._unknown(name)
        return self._folder / f"{name}{SUFFIX}"

    def names(self) -> list[str]:
        """Of the files at hand, damaged ones too."""
        if self._folder is None or not self._folder.is_dir():
            return []
        stems = [path.name.removesuffix(SUFFIX) for path in self._folder.glob(f"*{SUFFIX}")]
        return sorted(stem for stem in stems if NAME.fullmatch(stem))

    def _unknown(self, name: str) -> UnknownLandmarks:
        known = self.names()
        listed = ", ".join(known) or "none"
        return UnknownLandmarks(
            f"there is no landmark set {name[:100]!r}; there are {listed}. A name has letters, "
            "digits, dots, dashes and underscores",
            known=known,
        )


def memory_of(kept: LandmarkSet) -> int:
    """Bytes of a set: its descriptors, and what is read off them once (`Reference.rows`)."""
    return sum(
        values.nbytes
        for reference in kept.pattern.references
        for values in (*reference.descriptors, *reference.rows)
    )
