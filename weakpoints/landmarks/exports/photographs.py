"""The photographs of an export: which file a name means, and how large it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from posixpath import normpath

from weakpoints.errors import BadAnnotations, WeakpointsError
from weakpoints.images.decode import decode, read_file
from weakpoints.images.header import SUFFIXES
from weakpoints.options import Limits


@dataclass(frozen=True)
class Photographs:
    """A folder. No name leads out of it."""

    folder: Path
    limits: Limits

    def resolve(self, names: Sequence[str]) -> str:
        """The first of the names that is a file; the last of them, bare, where none is."""
        for name in map(normpath, names):
            if not name.startswith(("/", "..")) and (self.folder / name).is_file():
                return name
        return PurePosixPath(names[-1]).name

    def with_stem(self, stem: str) -> str:
        """The photograph of that path without suffix."""
        return self.resolve([*(stem + suffix for suffix in sorted(SUFFIXES)), stem])

    def size(self, name: str, source: str) -> tuple[int, int]:
        """Width and height as people see it. Raises BadAnnotations where there is none."""
        try:
            pixels = decode(read_file(self.folder / name, self.limits), self.limits)
        except OSError as error:
            raise BadAnnotations(
                f"{source} is of {name!r}, but there is no photograph of that name", actual=name
            ) from error
        except WeakpointsError as error:
            raise BadAnnotations(f"{source} is of {name!r}: {error.detail}") from error
        return pixels.shape[1], pixels.shape[0]
