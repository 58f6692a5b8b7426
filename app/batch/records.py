"""What is known of a collection's photographs: one row each.

A row is kept as soon as it is done. So a run that was killed goes on where it stopped.
"""

import fcntl
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import BaseModel, ValidationError

from app.schemas.answers import Figure, Pixels, WireKeypoint
from app.schemas.landmarks import WireLandmark, wire_landmark
from weakpoints.errors import BadOption
from weakpoints.landmarks.named import Named
from weakpoints.method.localization import Localization


class Row(BaseModel):
    """One photograph: what was found on it, or why nothing could be.

    Figures are rounded as the service rounds them.
    """

    file_name: str
    error: str | None = None
    width: int | None = None
    height: int | None = None
    class_id: int | None = None
    label: str | None = None
    probability: Figure | None = None
    low_evidence: bool | None = None
    keypoints: list[WireKeypoint] = []
    landmarks: list[WireLandmark] = []
    bbox: tuple[Pixels, Pixels, Pixels, Pixels] | None = None

    @property
    def line(self) -> str:
        return self.model_dump_json(exclude_defaults=True)


def found_row(name: str, found: Localization) -> Row:
    return Row(
        file_name=name,
        width=found.width,
        height=found.height,
        class_id=found.target.class_id,
        label=found.target.label,
        probability=found.target.probability,
        low_evidence=found.low_evidence,
        keypoints=[WireKeypoint(**asdict(point)) for point in found.keypoints],
    )


def named_row(name: str, found: Named) -> Row:
    likeliest = found.top[0]
    return Row(
        file_name=name,
        width=found.width,
        height=found.height,
        class_id=likeliest.class_id,
        label=likeliest.label,
        probability=likeliest.probability,
        landmarks=[wire_landmark(point) for point in found.landmarks],
        bbox=found.bbox,
    )


@contextmanager
def open_log(path: Path, stamp: dict[str, Any], resume: bool) -> Iterator["Log"]:
    """The log at `path`, locked while it is open.

    Raises BadOption where another run writes it. Raises BadOption, too, where it is to be resumed
    with another network or other options.
    """
    with path.open("r+b" if path.exists() else "w+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise BadOption(f"{path} is being written by another run") from None
        head = json.dumps(stamp).encode() + b"\n"
        known = file.readline() if resume else b""
        if known.endswith(b"\n") and known != head:
            raise BadOption(
                f"{path} was begun with another network, version or other options; "
                "finish it with those, or start without --resume"
            )
        if known != head:
            file.seek(0)
            file.truncate()
            file.write(head)
        yield Log(file)


def read_rows(path: Path, names: Iterable[str]) -> list[Row]:
    """The last row of each name in a log that a run has finished."""
    with path.open("r+b") as file:
        file.readline()
        return list(Log(file).rows(names))


class Log:
    """Rows in the order in which they were done.

    The line above them says by what network and options they were made.
    """

    def __init__(self, file: BinaryIO) -> None:
        """The file stands after its first line.

        A row that was cut while it was written is cut off, and whatever follows it.
        """
        self._file = file
        self._places: dict[str, int] = {}
        self.failed: set[str] = set()
        end = file.tell()
        for line in file:
            try:
                if not line.endswith(b"\n"):
                    break
                self._note(line, end)
            except ValidationError:
                break
            end += len(line)
        file.seek(end)
        file.truncate()

    def __contains__(self, name: str) -> bool:
        return name in self._places and name not in self.failed

    def add(self, line: str) -> Row:
        """Kept before this returns: a process that is killed afterwards loses nothing."""
        data, place = line.encode() + b"\n", self._file.tell()
        self._file.write(data)
        self._file.flush()
        return self._note(data, place)

    def rows(self, names: Iterable[str]) -> Iterator[Row]:
        """The last row of each, in the order of the names; those without one are left out."""
        for name in names:
            if name in self._places:
                self._file.seek(self._places[name])
                yield Row.model_validate_json(self._file.readline())

    def _note(self, line: bytes, place: int) -> Row:
        row = Row.model_validate_json(line)
        self._places[row.file_name] = place
        (self.failed.discard if row.error is None else self.failed.add)(row.file_name)
        return row
