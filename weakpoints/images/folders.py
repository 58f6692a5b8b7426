"""The files of a folder that a person put there."""

import os
from collections import Counter
from collections.abc import Iterator

SYSTEM_FOLDERS = {"__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information"}


def files_below(folder: str, left_out: Counter[str]) -> Iterator[str]:
    """Relative names of the files of a folder here and of those below it.

    Links to folders are followed, each folder once, so that circles end. left_out: counts what is
    hidden, and folders that can't be read.
    """

    def unread(error: OSError) -> None:
        left_out["folders that can't be read"] += 1

    seen = set[str]()
    for place, folders, files in os.walk(folder, onerror=unread, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not is_hidden(name, left_out))
        for name in sorted(files):
            if not is_hidden(name, left_out):
                yield os.path.relpath(os.path.join(place, name), folder)


def is_hidden(name: str, left_out: Counter[str]) -> bool:
    """Whether some part of it is a system's own: macOS' `._a.jpg`, Jupyter's, Synology's."""
    hidden = any(part.startswith(".") or part in SYSTEM_FOLDERS for part in name.split("/"))
    left_out["hidden"] += hidden
    if not left_out["hidden"]:
        del left_out["hidden"]
    return hidden
