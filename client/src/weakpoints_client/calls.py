"""One call, whatever carries it: what is sent, when to come again, what the answer means."""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from pathlib import Path
from typing import Any, Protocol

import httpx2

from weakpoints_client.answers import Refused, json_of, read_answer, refusal, told_to_wait
from weakpoints_client.models import Detection

RETRIED_STATUSES = {429, 503}  # statuses after which the service asks to come again
AT_ONCE = 16  # photographs in one request: what the service takes unless it is told otherwise
CONNECTION_LIMITS = httpx2.Limits(
    max_connections=None, max_keepalive_connections=None
)  # one a caller
Progress = Callable[[str, int, int], None]
"""Called with the stage, how much of it is done, and how much there is."""


class BinaryFile(Protocol):
    """What `open(path, "rb")` gives."""

    def read(self) -> bytes: ...


Photograph = bytes | bytearray | memoryview | Path | BinaryFile
"""An encoded photograph, or the file of one."""


class ApiCall:
    """What one call asks for, until its time or its tries are over."""

    def __init__(
        self,
        key: str | None,
        seconds: float,
        tries: int | None,
        options: Mapping[str, object],
        progress: Progress | None = None,
    ) -> None:
        self.end, self.tries, self.late = time.monotonic() + seconds, tries, seconds <= 0
        given = {name: value for name, value in options.items() if value is not None}
        self.options = {name: _value(name, value) for name, value in given.items()}
        self.progress = progress
        # a key that was read from a file has the end of its line
        key = (key or "").strip()
        self.key = {"Authorization": f"Bearer {key}"} if key else {}

    def request(self, image: bytes) -> dict[str, Any]:
        """The arguments of an httpx2 request for one photograph."""
        accept = {"Accept": "text/event-stream"} if self.progress else {}
        return {"content": image, **self._arguments({"Content-Type": "image/*", **accept})}

    def form(self, images: Sequence[bytes]) -> dict[str, Any]:
        """The same for several, whose answers come as lines."""
        files = [("image", (str(i), image)) for i, image in enumerate(images)]
        return {"files": files, **self._arguments({"Accept": "application/x-ndjson"})}

    def with_references(
        self, image: bytes, references: Mapping[str, bytes], annotations: bytes
    ) -> dict[str, Any]:
        """The same for one photograph, and the references by which its landmarks are found."""
        files = [("reference", (name, data)) for name, data in references.items()]
        files += [("annotations", ("annotations.json", annotations)), ("image", ("0", image))]
        return {"files": files, **self._arguments({})}

    def _arguments(self, headers: dict[str, str]) -> dict[str, Any]:
        """The service is told how much time is left. Raises Refused where none is."""
        left = self.end - time.monotonic()
        if self.late:
            raise Refused({"detail": "the time of this call was over before it could be sent"})
        timed = {} if left == math.inf else {"X-Request-Timeout": f"{max(left, 0.001):.3f}"}
        timeout = left + 1 if timed else None
        return {
            "params": self.options,
            "headers": {**headers, **timed, **self.key},
            "timeout": timeout,
        }

    def pause(self, refused: Refused) -> float:
        """Seconds after which to come again.

        Raises the refusal if it is final, if there is no time for that, or no try left.
        """
        if self.tries is not None:
            self.tries -= 1
        seconds = told_to_wait(refused)
        late = time.monotonic() + seconds >= self.end
        if refused.status not in RETRIED_STATUSES or late or self.tries == 0:
            raise refused
        return seconds

    def event(self, lines: list[str]) -> Detection | None:
        """One event of a stream; the result if it is that. Raises Refused."""
        fields = [line.partition(":")[::2] for line in lines]  # a comment has no name
        kind = next((value.removeprefix(" ") for name, value in fields if name == "event"), "")
        data = "\n".join(value.removeprefix(" ") for name, value in fields if name == "data")
        match kind:
            case "progress" if self.progress:
                step = json_of(data)
                self.progress(step["stage"], step["done"], step["total"])
            case "error":
                raise Refused(json_of(data))
            case "result":
                return read_answer(Detection, data)
        return None


class Together:
    """Photographs that are sent in one request, and again those that the service had no room for.

    `answers` has the answer to each, or why there is none, once `rest` is empty.
    """

    def __init__(self, call: ApiCall, images: Sequence[Photograph]) -> None:
        self._call, self._count = call, len(images)
        self._images: dict[int, bytes] = {}
        self._found: dict[int, Detection | Refused] = {}
        for index, image in enumerate(images):
            try:
                self._images[index] = file_bytes(image)
            except OSError as error:  # of a file that can't be read; the others are sent
                self._found[index] = refusal(error)
        self.rest = list(self._images)

    @property
    def answers(self) -> list[Detection | Refused]:
        return [self._found[i] for i in range(self._count)]

    def fail(self, error: Exception) -> bool:
        """Those without an answer are refused with this error; whether any had an answer."""
        answered = bool(self._found.keys() & self._images.keys())
        for index in self._images:
            self._found.setdefault(index, refusal(error))
        self.rest = []
        return answered

    def request(self) -> dict[str, Any]:
        """The arguments of an httpx2 request for those that are left."""
        return self._call.form([self._images[i] for i in self.rest])

    def take(self, line: str) -> None:
        """One line of the answer."""
        told = json_of(line)
        if "index" not in told:
            raise Refused(told["problem"])
        refused = "problem" in told
        answer = Refused(told["problem"]) if refused else read_answer(Detection, line)
        self._found[self.rest[told["index"]]] = answer

    def pause(self) -> float:
        """Seconds after which to send again those that are left now, 0 if there are none.

        Raises RemoteProtocolError where lines are missing.
        """
        sent, self.rest = self.rest, []
        if not self._found.keys() >= set(sent):
            raise httpx2.RemoteProtocolError("the stream ended before the last result")
        refused = {i: answer for i in sent if isinstance(answer := self._found[i], Refused)}
        again = {i: answer for i, answer in refused.items() if answer.status in RETRIED_STATUSES}
        if not again:
            return 0.0
        try:
            seconds = self._call.pause(max(again.values(), key=told_to_wait))
        except Refused:  # no time is left, or no try
            return 0.0
        self.rest = list(again)
        for i in again:
            del self._found[i]
        return seconds


def file_bytes(image: Photograph) -> bytes:
    """Read once, as it is sent again after 429. Raises TypeError for a text."""
    if isinstance(image, Path):
        return image.read_bytes()
    if isinstance(image, bytes | bytearray | memoryview):
        return bytes(image)
    if isinstance(image, str) or not hasattr(image, "read"):
        raise TypeError(
            "a photograph is bytes, a pathlib.Path, or a file that was opened in mode 'rb', "
            f"and not of type {type(image).__name__}"
        )
    return image.read()


def _value(name: str, option: Any) -> object:
    """Of an option, as a query has it: the service reads the text, and refuses what is none."""
    if hasattr(option, "tolist"):  # numpy's; the client can do without numpy
        option = option.tolist()
    match name:
        case "roi":
            return _box_texts(option)
        case "target_class":
            return _spelled(option)
    return option if isinstance(option, str | int | float) else str(option)


def _spelled(option: Any) -> object:
    """Several classes, or the numbers of a box, have commas between them."""
    if hasattr(option, "tolist"):
        option = option.tolist()
    if isinstance(option, bytes | Mapping | Set):  # which have no order, or are no classes
        return str(option)
    if isinstance(option, float) and option.is_integer():
        return int(option)
    if isinstance(option, str) or not isinstance(option, Iterable):
        return option
    return ",".join(str(_spelled(entry)) for entry in option)


def _box_texts(roi: Any) -> object:
    """One box: a text or four numbers. Several: a list of them, each a parameter of its own."""
    if isinstance(roi, str | bytes | Mapping | Set) or not isinstance(roi, Iterable):
        return str(roi)
    texts = [_spelled(part) for part in roi]
    if not texts:
        return "[]"  # no box: the service refuses it
    return texts if any(isinstance(text, str) for text in texts) else _spelled(texts)
