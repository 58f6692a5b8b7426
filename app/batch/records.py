"""What is known of a collection's photographs: one row each.

A row is kept as soon as it is done. So a run that was killed goes on where it stopped.
"""

import fcntl
import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import BaseModel, ValidationError

from app.schemas.answers import Figure, PixelLength, WireKeypoint
from app.schemas.landmarks import WireLandmark, wire_landmark
from weakpoints.errors import BadOption
from weakpoints.landmarks.named import Named
from weakpoints.method.localization import Localization

log = logging.getLogger("weakpoints")


class ResultRow(BaseModel):
    """One photograph: what was found on it, or why nothing could be.

    Figures are rounded as the service rounds them. made_of: see `Reader.fingerprint`.
    """

    file_name: str
    made_of: str | None = None
    error: str | None = None
    width: int | None = None
    height: int | None = None
    class_id: int | None = None
    label: str | None = None
    probability: Figure | None = None
    low_evidence: bool | None = None
    keypoints: list[WireKeypoint] = []
    landmarks: list[WireLandmark] = []
    bbox: tuple[PixelLength, PixelLength, PixelLength, PixelLength] | None = None

    @property
    def line(self) -> str:
        return self.model_dump_json(exclude_defaults=True)


def found_row(name: str, localization: Localization) -> ResultRow:
    return ResultRow(
        file_name=name,
        width=localization.width,
        height=localization.height,
        class_id=localization.target.class_id,
        label=localization.target.label,
        probability=localization.target.probability,
        low_evidence=localization.low_evidence,
        keypoints=[WireKeypoint(**asdict(point)) for point in localization.keypoints],
    )


def named_row(name: str, named: Named) -> ResultRow:
    likeliest = named.top[0]
    return ResultRow(
        file_name=name,
        width=named.width,
        height=named.height,
        class_id=likeliest.class_id,
        label=likeliest.label,
        probability=likeliest.probability,
        landmarks=[wire_landmark(point) for point in named.landmarks],
        bbox=named.bbox,
    )


@contextmanager
def open_log(path: Path, stamp: dict[str, Any], resume: bool) -> Iterator["Log"]:
    """The log at `path`, locked while it is open.

    Raises BadOption where another run writes it, where it is to be resumed with another network or
    other options, or where it has rows and is not to be resumed: they would be lost.
    """
    with path.open("r+b" if path.exists() else "w+b") as file:
        try:
            # Locked, not looked for: a lock goes with a process that is killed.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BadOption(f"{path} is being written by another run") from None
        except OSError as error:  # a network drive without locks
            log.warning("%s can't be locked (%s): one run at a time", path, error.strerror)
        head = json.dumps(stamp).encode() + b"\n"
        known = file.readline()
        # Somebody else's file of that name must not be cut.
        if known.endswith(b"\n") and not _is_stamp(known):
            raise BadOption(f"{path} is no log of this command; name another folder for --out")
        if rows := 0 if resume else sum(1 for _ in file):
            raise BadOption(
                f"{path} has {rows} rows of an earlier run; go on with --resume, or name another "
                "folder for --out"
            )
        if resume and known.endswith(b"\n") and known != head:
            raise BadOption(
                f"{path} was begun with another network, version or other options; "
                "finish it with those, or name another folder for --out"
            )
        file.seek(len(known))
        # The head was cut while it was written, or the file is new.
        if known != head:
            file.seek(0)
            file.truncate()
            file.write(head)
        yield Log(file)


def _is_stamp(line: bytes) -> bool:
    """Whether a run of this command wrote this first line of a log."""
    try:
        return {"version", "network", "options"} <= set(json.loads(line))
    except (ValueError, TypeError):
        return False


def read_rows(path: Path, names: Iterable[str]) -> list[ResultRow]:
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

        A row that was cut while it was written is cut off. Raises BadOption where other rows follow
        what is none: somebody changed the file, and they would be lost.
        """
        self._file = file
        self._places: dict[str, int] = {}
        self._made_of: dict[str, str | None] = {}
        self.failed: set[str] = set()
        end = file.tell()
        for number, line in enumerate(file, 2):
            try:
                if not line.endswith(b"\n"):
                    break
                self._note(line, end)
            except ValidationError:
                if file.read(1):
                    raise BadOption(
                        f"line {number} of {file.name} is no row of a run, and others follow it; "
                        "delete that line, then go on with --resume"
                    ) from None
                break
            end += len(line)
        file.seek(end)
        file.truncate()

    def __contains__(self, name: str) -> bool:
        # Failures are tried again: a network drive may be back.
        return name in self._places and name not in self.failed

    def has(self, name: str, made_of: str | None) -> bool:
        """Whether a row of this photograph is there, made of the file as it is now."""
        return name in self and self._made_of[name] == made_of

    def add(self, line: str, made_of: Mapping[str, str | None]) -> ResultRow:
        """Kept before this returns: a process that is killed afterwards loses nothing.

        made_of: of each photograph, see `Reader.fingerprint`.
        """
        row = ResultRow.model_validate_json(line)
        row = row.model_copy(update={"made_of": made_of.get(row.file_name)})
        data, place = row.line.encode() + b"\n", self._file.tell()
        self._file.write(data)
        # To the system, not to the disk: only a power cut loses it, which a resumed run repeats.
        self._file.flush()
        return self._note(data, place)

    def rows(self, names: Iterable[str]) -> Iterator[ResultRow]:
        """The last row of each, in the order of the names; those without one are left out."""
        for name in names:
            if name in self._places:
                self._file.seek(self._places[name])
                yield ResultRow.model_validate_json(self._file.readline())

    def _note(self, line: bytes, place: int) -> ResultRow:
        row = ResultRow.model_validate_json(line)
        self._places[row.file_name] = place
        self._made_of[row.file_name] = row.made_of
        (self.failed.discard if row.error is None else self.failed.add)(row.file_name)
        return row
