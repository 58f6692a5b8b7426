"""Files that a command is told to write: looked at before anything is computed."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

HEAD_BYTES = 2**16  # bytes of a file in which it says what made it
REPORT = b'<meta name="generator" content="weakpoints">'
LANDMARK_SET = b'"weakpoints":'  # the metadata of a safetensors file


def check_output(path: Path, made_here: bytes, what: str) -> None:
    """Raises ValueError where the file could not be written, or another's would be lost.

    made_here: what the head of a file has that such a command wrote; that may be written over.
    """
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as error:  # a name that is too long, or has a zero in it
        raise ValueError(f"{str(path)!r} can't be written: {error}") from error
    if not path.parent.is_dir():
        raise ValueError(f"{path} can't be written: there is no folder {path.parent}")
    if path.is_dir():
        raise ValueError(f"{path} is a folder; name a file")
    if path.is_file() and path.stat().st_size:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
        if made_here not in head:
            raise ValueError(f"{path} is there and is no {what}; name another file")


def _checked_output(made_here: bytes, what: str) -> Callable[[Any, Path | None], None]:
    return lambda _, path: None if path is None else check_output(path, made_here, what)


def check_charts() -> None:
    """Raises ValueError where Matplotlib, which draws a report's charts, is not installed."""
    if find_spec("matplotlib") is None:
        raise ValueError("a report's charts need Matplotlib: pip install 'weakpoints[evaluate]'")


def _report(_: Any, path: Path | None) -> None:
    if path is not None:
        check_charts()
        check_output(path, REPORT, "report of weakpoints")


ReportFile = Annotated[Path, Parameter(validator=_report)]
SetFile = Annotated[Path, Parameter(validator=_checked_output(LANDMARK_SET, "landmark set"))]


@Parameter(name="*")
@dataclass(frozen=True)
class OutputFlags:
    """What a study leaves beside its figures."""

    resume: Annotated[
        Path | None,
        Parameter(
            help="folder for each photograph's record; a study goes on from those that are there"
        ),
    ] = None
    html: Annotated[
        ReportFile | None, Parameter(help="write the figures and pictures as a page, too")
    ] = None
