"""What was measured of each photograph, kept as it comes.

So an interrupted study goes on where it stopped.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
Row = dict[str, Any]
ProgressBar = Callable[[Iterable[Any]], Iterable[Any]]


@dataclass(frozen=True)
class RecordedRows:
    """Measures photograph after photograph.

    asked: all that a row depends on besides the photograph.
    folder: where rows are kept, if at all.
    """

    progress: ProgressBar = iter
    folder: Path | None = None
    asked: str = ""

    def of(self, photographs: Mapping[str, T], measure: Callable[[T], Row]) -> list[Row]:
        """The row of each photograph, by its name.

        What the folder has of the same question, and of the same file, is not measured again.
        """
        file = self._file()
        kept = _read(file) if file else {}
        rows = []
        for name, photograph in self.progress(photographs.items()):
            made_of = _fingerprint(photograph)
            if name not in kept or kept[name].get("made_of") != made_of:
                record = {"photograph": name, "made_of": made_of, "row": measure(photograph)}
                line = json.dumps(record)
                kept[name] = json.loads(line)  # as it will be read next time
                if file:
                    with file.open("a") as log:
                        log.write(line + "\n")
            rows.append(kept[name]["row"])
        return rows

    def _file(self) -> Path | None:
        if self.folder is None:
            return None
        self.folder.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256(self.asked.encode()).hexdigest()
        return self.folder / f"{self.asked.split()[0]}-{digest[:12]}.jsonl"


def _fingerprint(photograph: object) -> str | None:
    """Size and time of the file that is measured: a row goes with what it was made of."""
    path = getattr(photograph, "path", photograph)
    if not isinstance(path, Path) or not path.exists():
        return None
    facts = path.stat()
    return f"{facts.st_size} {facts.st_mtime_ns}"


def _read(file: Path) -> dict[str, dict[str, Any]]:
    """The records of a file, by photograph.

    A line that was cut while it was written is left out and taken away. So the next one begins
    anew.
    """
    text = file.read_text() if file.exists() else ""
    if text and not text.endswith("\n"):
        text = text[: text.rfind("\n") + 1]
        file.write_text(text)
    lines = map(json.loads, text.splitlines())
    return {line["photograph"]: line for line in lines}
