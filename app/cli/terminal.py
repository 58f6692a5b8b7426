"""What commands show: results on stdout, all else on stderr."""

import json
import os
import sys
from collections.abc import Callable, Iterable
from io import TextIOBase
from typing import Any, TypeVar

Item = TypeVar("Item")


def bar(what: str, items: Iterable[Item], total: int | None = None) -> Iterable[Item]:
    """`items`, with a progress bar if there is a stderr: a daemon may have none."""
    if sys.stderr is None:
        return items
    from tqdm import tqdm

    return tqdm(items, desc=what, total=total, file=Stderr(), dynamic_ncols=True)


def show(as_json: bool, value: Any, text: str) -> None:
    """The result of a command: `value` as JSON, or `text` for people."""
    print(json.dumps(value) if as_json else text)


def say(message: str, status: int = 1) -> int:
    """Write a diagnostic; returns `status`, the exit code that goes with it."""
    if sys.stderr is not None:  # None would be stdout
        print(f"weakpoints: {message}", file=Stderr())
    return status


class Stderr(TextIOBase):
    """stderr as long as it takes what is written: a full disk there ends no command.

    After the first failure all goes nowhere, also what Python would write when it ends.
    """

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """What tqdm asks for before it draws with blocks."""
        return sys.stderr.encoding

    def fileno(self) -> int:
        """Of which tqdm asks the width."""
        return sys.stderr.fileno()

    def write(self, text: str) -> int:
        self._try(lambda: sys.stderr.write(text))
        return len(text)

    def flush(self) -> None:
        self._try(lambda: sys.stderr.flush())

    def _try(self, act: Callable[[], object]) -> None:
        try:
            act()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
