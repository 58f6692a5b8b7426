"""Weights are an input: whether the file is the right one, and how it is fetched."""

import fcntl
import hashlib
import logging
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from io import BufferedRandom
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

from tqdm import tqdm

from weakpoints.errors import WeightsError
from weakpoints.networks.manifest import Entry, address

log = logging.getLogger("weakpoints")
BLOCK = 2**20
TIMEOUT = 30  # seconds without a byte


def verify(entry: Entry) -> None:
    """Checks that the weights are here and are the right ones.

    Raises WeightsError if the file is missing or not the one whose digest the manifest states.
    """
    if not entry.path.is_file():
        raise WeightsError(f"the weights of {entry.name!r} are not at {entry.path}; {_how(entry)}")
    actual = digest(entry.path)
    if not actual.startswith(entry.sha256):
        # It may be the only copy of a network that was trained here: a person deletes it, not we.
        raise WeightsError(
            f"{entry.path} has SHA-256 {actual}, the manifest says {entry.sha256}; "
            f"delete it or move it away, then {_how(entry)}",
            expected=entry.sha256,
            actual=actual,
        )


def digest(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def pull(entry: Entry, *, progress: bool = True) -> Path:
    """Downloads the weights, verifies them, and only then puts the file in place.

    It goes on where an earlier attempt stopped. Where another process fetches the same file, it
    waits for that one. If the file is here already, nothing happens.
    """
    if not entry.path.exists():
        url = address(entry)
        if url is None:
            raise WeightsError(f"the weights of {entry.name!r} can't be pulled: {_how(entry)}")
        try:
            entry.path.parent.mkdir(parents=True, exist_ok=True)
            with _partial(entry.path) as partial:
                # None: while this process waited, another one put the file in place.
                if partial is not None:
                    _fetch(url, partial, entry.name, progress)
                    _check(partial, entry)
                    os.replace(partial.name, entry.path)
                    return entry.path
        except (OSError, HTTPException, ValueError) as error:  # ValueError: of what is no address
            raise WeightsError(
                f"could not fetch {entry.name!r}: {error}. Run the command again to go on, or put "
                f"the file at {entry.path} yourself; its SHA-256 begins with {entry.sha256[:16]}"
            ) from error
    verify(entry)
    return entry.path


@contextmanager
def _partial(path: Path) -> Iterator[BufferedRandom | None]:
    """The file that is fetched into, which no other process writes meanwhile.

    It is `path`.partial, locked, with what an earlier attempt left in it. Where the file system has
    no locks it is a file of this attempt's own, which is gone afterwards. None: `path` is there.
    """
    shared = path.with_name(path.name + ".partial")
    while True:
        with _opened(shared) as file:
            try:
                _lock(file)
            except OSError:  # a file system without locks
                _remove_if_empty(shared)
                break
            # Whoever had it may have renamed or deleted it: then this is no longer the file of
            # that name, and what is written into it would go into weights that are in place.
            if _is_at(file, shared):
                try:
                    yield None if path.exists() else file
                finally:
                    _remove_if_empty(shared)
                return
        if path.exists():
            yield None
            return
    own = path.with_name(f"{path.name}.{uuid4().hex[:8]}.partial")
    try:
        with _opened(own) as file:
            yield file
    finally:
        own.unlink(missing_ok=True)


def _opened(path: Path) -> BufferedRandom:
    """To be read and written, made if need be; a link is not followed."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
    return open(path, "r+b", opener=lambda name, _: os.open(name, flags, 0o666))


def _lock(file: BufferedRandom) -> None:
    """Waits for whoever has it. Raises OSError where there are no locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        log.warning("another process is fetching %s; waiting for it", file.name)
        fcntl.flock(file, fcntl.LOCK_EX)


def _is_at(file: BufferedRandom, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _remove_if_empty(path: Path) -> None:
    if path.exists() and path.stat().st_size == 0:
        path.unlink()


def _check(partial: BufferedRandom, entry: Entry) -> None:
    """Deletes what is not the right file; raises WeightsError."""
    partial.seek(0)
    actual = hashlib.file_digest(partial, "sha256").hexdigest()
    if not actual.startswith(entry.sha256):
        os.unlink(partial.name)
        raise WeightsError(
            f"what came for {entry.name!r} has SHA-256 {actual}, "
            f"not {entry.sha256}; it was deleted",
            expected=entry.sha256,
            actual=actual,
        )


def _how(entry: Entry) -> str:
    """How missing weights are to be had."""
    if entry.url:
        return f"`weakpoints weights pull {entry.name}` fetches them"
    if entry.package:
        return f"`pip install {entry.package}` brings them"
    return f"the manifest has no address for them; put the file at {entry.path}"


def _fetch(url: str, partial: BufferedRandom, name: str, progress: bool) -> None:
    """Writes what is missing of the file behind what it has, down to the disk.

    Raises OSError (URLError is one) where the answer ends early.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise OSError(f"{url} is not an http(s) address")
    have = partial.seek(0, os.SEEK_END)
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:  # the file is whole already, or longer: the digest decides
            return
        raise
    with response:
        if response.status != 206:  # the server sends all of it, whatever was asked for
            have = partial.seek(0)
            partial.truncate()
        length = response.headers.get("Content-Length")
        total = have + int(length) if length and length.isdecimal() else None
        with tqdm(
            total=total, initial=have, unit="B", unit_scale=True, desc=name, disable=not progress
        ) as bar:
            while block := response.read(BLOCK):
                partial.write(block)
                bar.update(len(block))
    partial.flush()
    os.fsync(partial.fileno())  # before it is renamed: a power cut leaves no empty file in place
    if total is not None and partial.tell() < total:
        raise OSError(f"the connection ended after {partial.tell()} of {total} bytes")
