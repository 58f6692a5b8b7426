"""Where the file of a photograph goes, whatever the photograph's name leads to."""

import os
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit


def stem_below(file_name: str) -> PurePosixPath:
    """A relative path without suffix that stays below the folder it is put in."""
    path = urlsplit(file_name).path if "://" in file_name else file_name
    parts = [part for part in PurePosixPath(path).parts if part not in ("/", "..", ".")]
    return PurePosixPath(*parts).with_suffix("")


def way_to(file_name: str, folder: str | None, start: Path) -> str:
    """From the folder `start` to the photograph; its bare name where it is not on this machine."""
    if folder is None or "://" in file_name:
        return PurePosixPath(urlsplit(file_name).path).name
    way = os.path.relpath(os.path.join(folder, file_name), start)
    return Path(way).as_posix()
