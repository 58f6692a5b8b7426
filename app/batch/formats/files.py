"""Where the file of a photograph goes, whatever the photograph's name leads to."""

import filecmp
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from app.batch.tables import in_one_move

log = logging.getLogger("weakpoints")


def stem_below(file_name: str) -> PurePosixPath:
    """A relative path without suffix that stays below the folder it is put in."""
    path = urlsplit(file_name).path if "://" in file_name else file_name
    parts = [part for part in PurePosixPath(path).parts if part not in ("/", "..", ".")]
    return PurePosixPath(*parts).with_suffix("")


def write_label_file(path: Path, text: str) -> None:
    """One photograph's file, in folders that are made; see `_keep_old` of one that is there."""
    # Names are UTF-8 here, whatever the locale says that file names are.
    path = Path(os.fsdecode(str(path).encode("utf-8", "surrogateescape")))
    path.parent.mkdir(parents=True, exist_ok=True)
    data = text.encode()
    if path.exists() and path.read_bytes() != data:
        _keep_old(path)
    path.write_bytes(data)


@contextmanager
def keeping_old(path: Path) -> Iterator[Path]:
    """The collection's file, as `in_one_move` makes it; see `_keep_old` of one that is there."""
    with in_one_move(path) as partial:
        yield partial
        if path.exists() and not filecmp.cmp(path, partial, shallow=False):
            _keep_old(path)


def _keep_old(path: Path) -> None:
    """What says something else may have been corrected by hand.

    It is kept beside the new one as `NAME.old`, `NAME.old2`, ...
    """
    names = (f"{path.name}.old{number if number > 1 else ''}" for number in count(1))
    kept = next(old for name in names if not (old := path.with_name(name)).exists())
    path.rename(kept)
    log.warning("%s had been changed; it is kept as %s", path, kept.name)


def way_to(file_name: str, folder: str | None, start: Path) -> str:
    """From the folder `start` to the photograph; its bare name where it is not on this machine."""
    if folder is None or "://" in file_name:
        return PurePosixPath(urlsplit(file_name).path).name
    way = os.path.relpath(os.path.join(folder, file_name), start)
    return Path(way).as_posix()
