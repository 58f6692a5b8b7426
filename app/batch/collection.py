"""Where the photographs of a batch are: a folder, a list of files, or a COCO file.

It may lie here, or anywhere that fsspec reaches.
"""

import codecs
import hashlib
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from posixpath import dirname, isabs, join, normpath, splitext
from typing import Any

from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from weakpoints.errors import BadOption
from weakpoints.images.folders import files_below, is_hidden
from weakpoints.images.header import SUFFIXES

ODD_NAME = "its name is not UTF-8: rename it"
ELSEWHERE = "it lies outside of the folder that names are relative to, which must be allowed"


@dataclass(frozen=True)
class PhotographReader:
    """Reads by name: relative to the root, or an absolute path, or a URL of its own."""

    filesystem: AbstractFileSystem
    root: str

    @property
    def folder(self) -> str | None:
        """The root, where it is on this machine."""
        return self.root if isinstance(self.filesystem, LocalFileSystem) else None

    def read(self, name: str, most: int) -> bytes:
        """The file's bytes, but never more than one above `most`.

        Raises OSError, and whatever a file system that fsspec reaches does.
        """
        filesystem, path = self._filesystem(name)
        if isinstance(filesystem, LocalFileSystem) and not os.path.isfile(path):
            os.stat(path)  # says why there is none
            raise OSError(f"it is no file: {filesystem.info(path)['type']}")  # a pipe has no end
        data: bytes = filesystem.cat_file(path, end=most + 1)
        return data

    def fingerprint(self, name: str) -> str | None:
        """Tells a file from another of its name: where it is, its size, and when it was written.

        None where the file system does not say.
        """
        try:
            filesystem, path = self._filesystem(name)
            facts = filesystem.info(path)
        except Exception:  # of a file that can't be read, which has a row that says so
            return None
        kept = [str(facts.get(fact)) for fact in ("size", "mtime", "LastModified", "ETag")]
        return hashlib.sha256("\0".join([path, *kept]).encode("utf-8", "replace")).hexdigest()[:16]

    def _filesystem(self, name: str) -> tuple[AbstractFileSystem, str]:
        if "://" in name:
            filesystem, path = url_to_fs(name)
            return filesystem, path
        path = join(self.root, name)
        if isinstance(self.filesystem, LocalFileSystem):
            # Names are UTF-8 here, whatever the locale says that file names are.
            path = os.fsdecode(path.encode("utf-8", "surrogateescape"))
        return self.filesystem, path


@dataclass(frozen=True)
class Collection:
    """names: sorted, each once; they are all that is held in memory of it.

    refused: those of them that are not read, and why. left_out: files of a folder that have another
    suffix than photographs, hidden ones, and folders that can't be read, by suffix or reason. ids:
    of photographs in the COCO file that named them. source: the path of a list that lies here.
    """

    reader: PhotographReader
    names: tuple[str, ...]
    refused: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)
    ids: Mapping[str, int] = field(default_factory=dict)
    source: str | None = None


def open_collection(source: str, outside: bool = False, images: str | None = None) -> Collection:
    """The photographs of a folder and those below it, of a list, or of a COCO file.

    `source` is a folder, a `.txt` with one name a line, or a COCO `.json`. Names are relative to
    its folder, or to `images`. A COCO file's names may lead out of there, or to a URL, only if
    `outside`. Raises BadOption where there is no such thing, or no photograph in it.
    """
    try:
        filesystem, path = _filesystem(source)
        collection = (
            _folder(filesystem, path)
            if filesystem.isdir(path)
            else _of_list(filesystem, path, outside, images)
        )
    except Exception as error:  # a file system of fsspec's may raise anything
        raise BadOption(
            f"{source} is not a folder, a list of files or a COCO file: "
            f"{type(error).__name__} {reason(error)}"
        ) from error
    if not collection.names:
        raise BadOption(
            f"there is no photograph in {source}{left_out_by_kind(collection.left_out)}"
        )
    return collection


def subset(collection: Collection, count: int) -> Collection:
    """At most so many of it, evenly spread over the names."""
    return replace(
        collection, names=collection.names[:: max(1, len(collection.names) // count)][:count]
    )


def reason(error: Exception) -> str:
    """Without the paths of this machine, which an OSError would tell."""
    message = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return printable(message or type(error).__name__)


def left_out_by_kind(left_out: Mapping[str, int]) -> str:
    """What was left out, for people; "" if nothing was."""
    if not left_out:
        return ""
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(left_out.items()))
    return f"; left out: {kinds} (photographs end in {', '.join(sorted(SUFFIXES))})"


def printable(name: str) -> str:
    r"""The name as JSON can say it.

    Bytes that are not UTF-8 become \x.., as Python and ls show them.
    """
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _filesystem(source: str) -> tuple[AbstractFileSystem, str]:
    """The file system of `source`, and the path in it.

    A path here may have anything in it, `::` too. Only what has `://` and isn't here is a URL.
    """
    if "://" in source and not os.path.exists(source):
        filesystem, path = url_to_fs(source)
        return filesystem, path
    return LocalFileSystem(), os.path.abspath(os.path.expanduser(source))


def _folder(filesystem: AbstractFileSystem, path: str) -> Collection:
    left_out = Counter[str]()
    if isinstance(filesystem, LocalFileSystem):
        files = list(files_below(path, left_out))
    else:
        below = (name.removeprefix(path.rstrip("/") + "/") for name in filesystem.find(path))
        files = [name for name in below if not is_hidden(name, left_out)]
    names = list[str]()
    for name in files:
        suffix = splitext(name)[1].lower()
        if suffix in SUFFIXES:
            names.append(name)
        else:
            left_out[printable(suffix) or "without suffix"] += 1
    return _of_names(filesystem, path, names, {}, left_out)


def _of_list(
    filesystem: AbstractFileSystem, path: str, outside: bool, images: str | None
) -> Collection:
    suffix, refused, ids = splitext(path)[1].lower(), dict[str, str](), dict[str, int]()
    if suffix not in (".txt", ".json"):
        raise ValueError(f"a list ends in .txt or .json, not in {suffix!r}")
    text = _decoded_text(filesystem.cat_file(path))
    there, root = _filesystem(images) if images else (filesystem, dirname(path))
    if suffix == ".txt":
        names = [line.strip() for line in text.splitlines() if line.strip()]
    else:
        entries: list[dict[str, Any]] = json.loads(text)["images"]
        names = [str(entry["file_name"]) for entry in entries]
        # A list from elsewhere must not read files of this machine for whoever wrote it.
        refused = {name: ELSEWHERE for name in names if not outside and _leads_out(name)}
        ids = _ids(entries)
    source = path if isinstance(filesystem, LocalFileSystem) else None
    once = _each_file_once(root, names)
    return replace(_of_names(there, root, once, refused, {}), ids=ids, source=source)


def _each_file_once(root: str, names: Sequence[str]) -> list[str]:
    """Of several spellings of one file, such as `a.jpg` and `./a.jpg`, the first."""
    first = dict[str, str]()
    for name in names:
        first.setdefault(name if "://" in name else normpath(join(root, name)), name)
    return list(first.values())


def _ids(entries: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Those of a COCO file, by name; none where they are not whole numbers, each once."""
    ids = {str(entry["file_name"]): entry.get("id") for entry in entries}
    # True is an int in Python, and no id.
    whole = {name: number for name, number in ids.items() if type(number) is int}
    return whole if len(set(whole.values())) == len(ids) else {}


def _of_names(
    filesystem: AbstractFileSystem,
    root: str,
    names: Sequence[str],
    refused: dict[str, str],
    left_out: Mapping[str, int],
) -> Collection:
    shown, odd = {name: printable(name) for name in names}, set[str]()
    for name in names:
        try:
            os.fsencode(name).decode("utf-8")
        except UnicodeError:
            odd.add(name)
    refused = refused | {shown[name]: ODD_NAME for name in odd}
    return Collection(
        PhotographReader(filesystem, root), tuple(sorted(set(shown.values()))), refused, left_out
    )


def _decoded_text(data: bytes) -> str:
    """UTF-8, or UTF-16 as Windows writes it, whose byte-order mark says so."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16")
    return data.decode("utf-8-sig", "surrogateescape")


def _leads_out(name: str) -> bool:
    return "://" in name or isabs(name) or normpath(name).split("/")[0] == ".."
