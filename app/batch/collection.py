"""Where the photographs of a batch are: a folder, a list of files, a COCO file, here or anywhere that fsspec reaches."""

import json
from dataclasses import dataclass, replace
from posixpath import dirname, join, splitext
from typing import Any

import numpy as np
from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs
from numpy.typing import NDArray

from app.errors import BadOption
from app.method.image import decode
from app.options import Limits

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}


@dataclass(frozen=True)
class Reader:
    """Reads by name: relative to the root, or an absolute path, or a URL of its own."""

    filesystem: AbstractFileSystem
    root: str

    def read(self, name: str, most: int) -> bytes:
        """The file's bytes, but never more than one above `most`. Raises OSError."""
        filesystem, path = (
            url_to_fs(name) if "://" in name else (self.filesystem, join(self.root, name))
        )
        data: bytes = filesystem.cat_file(path, end=most + 1)
        return data

    def image(self, name: str, limits: Limits) -> NDArray[np.uint8]:
        """(H, W, 3) RGB. Raises WeakpointsError or OSError."""
        return decode(self.read(name, limits.max_bytes), limits)


@dataclass(frozen=True)
class Collection:
    """names: sorted, each once. They are all that is held in memory of it."""

    reader: Reader
    names: tuple[str, ...]


def open_collection(source: str) -> Collection:
    """Of a folder (and those below it), of a `.txt` with one name a line, or of a COCO `.json`; names are relative to it.

    Raises BadOption where there is no such thing.
    """
    try:
        filesystem, path = url_to_fs(source)
        if filesystem.isdir(path):
            found = [
                name for name in filesystem.find(path) if splitext(name)[1].lower() in SUFFIXES
            ]
            names = [name.removeprefix(path.rstrip("/") + "/") for name in found]
        else:
            names, path = (
                _listed(filesystem.cat_file(path).decode(), splitext(path)[1]),
                dirname(path),
            )
        for name in names:
            name.encode()  # or no JSON could say it
    except (OSError, ValueError, KeyError, TypeError, ImportError) as error:
        raise BadOption(
            f"{source} is not a folder, a list of files or a COCO file: {type(error).__name__} {error}"
        ) from error
    return Collection(Reader(filesystem, path), tuple(sorted(set(names))))


def drawn(collection: Collection, count: int) -> Collection:
    """At most so many of it, evenly spread over the names."""
    return replace(
        collection, names=collection.names[:: max(1, len(collection.names) // count)][:count]
    )


def reason(error: Exception) -> str:
    """Without the paths of this machine, which an OSError would tell."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _listed(text: str, suffix: str) -> list[str]:
    if suffix == ".json":
        images: list[dict[str, Any]] = json.loads(text)["images"]
        return [image["file_name"] for image in images]
    if suffix == ".txt":
        return [line.strip() for line in text.splitlines() if line.strip()]
    raise ValueError(f"a list ends in .txt or .json, not in {suffix!r}")
