"""One call, whatever carries it: what is sent, when to come again, what the answer means."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import httpx2

from weakpoints_client.models import Detection

AGAIN = {429, 503}  # statuses after which the service asks to come again
AT_ONCE = 16  # photographs in one request: what the service takes unless it is told otherwise
LIMITS = httpx2.Limits(max_connections=None, max_keepalive_connections=None)  # one a caller
ENDED = "the stream ended before the result"
Progress = Callable[[str, int, int], None]
"""Called with the stage, how much of it is done, and how much there is."""


class Refused(Exception):
    """The service's problem: its status, its stable type, and every figure in `problem`."""

    def __init__(self, problem: dict[str, Any]) -> None:
        super().__init__(problem.get("detail", ""))
        self.problem = problem
        self.status = int(problem.get("status", 0))
        self.type = str(problem.get("type", ""))


class Call:
    """What one call asks for, until its time or its tries are over."""

    def __init__(
        self,
        key: str | None,
        seconds: float,
        tries: int | None,
        options: Mapping[str, object],
        progress: Progress | None = None,
    ) -> None:
        self.end, self.tries = time.monotonic() + seconds, tries
        self.options = {k: v if k == "roi" else _text(v) for k, v in options.items()}
        self.progress = progress
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
        """The service is told how much time is left."""
        left = max(0.001, self.end - time.monotonic())
        headers |= {"X-Request-Timeout": f"{left:.3f}", **self.key}
        return {"params": self.options, "headers": headers, "timeout": left + 1}

    def pause(self, refused: Refused) -> float:
        """Seconds after which to come again.

        Raises the refusal if it is final, if there is no time for that, or no try left.
        """
        if self.tries is not None:
            self.tries -= 1
        seconds = _told_to_wait(refused)
        late = time.monotonic() + seconds >= self.end
        if refused.status not in AGAIN or late or self.tries == 0:
            raise refused
        return seconds

    def event(self, lines: list[str]) -> Detection | None:
        """One event of a stream; the result if it is that. Raises Refused."""
        fields = dict(line.split(": ", 1) for line in lines if not line.startswith(":"))
        match fields.get("event"):
            case "progress" if self.progress:
                data = json.loads(fields["data"])
                self.progress(data["stage"], data["done"], data["total"])
            case "error":
                raise Refused(json.loads(fields["data"]))
            case "result":
                return Detection.model_validate_json(fields["data"])
        return None


class Together:
    """Photographs that are sent in one request, and again those that the service had no room for.

    `answers` has the answer to each, or why there is none, once `rest` is empty.
    """

    def __init__(self, call: Call, images: Sequence[bytes]) -> None:
        self._call, self._images = call, images
        self.rest = list(range(len(images)))
        self._found: dict[int, Detection | Refused] = {}

    @property
    def answers(self) -> list[Detection | Refused]:
        return [self._found[i] for i in range(len(self._images))]

    def request(self) -> dict[str, Any]:
        """The arguments of an httpx2 request for those that are left."""
        return self._call.form([self._images[i] for i in self.rest])

    def take(self, line: str) -> None:
        """One line of the answer."""
        told = json.loads(line)
        if "index" not in told:
            raise Refused(told["problem"])
        refused = "problem" in told
        answer = Refused(told["problem"]) if refused else Detection.model_validate(told)
        self._found[self.rest[told["index"]]] = answer

    def pause(self) -> float:
        """Seconds after which to send again those that are left now, 0 if there are none.

        Raises RemoteProtocolError where lines are missing.
        """
        sent, self.rest = self.rest, []
        if not self._found.keys() >= set(sent):
            raise httpx2.RemoteProtocolError("the stream ended before the last result")
        refused = {i: each for i in sent if isinstance(each := self._found[i], Refused)}
        again = {i: each for i, each in refused.items() if each.status in AGAIN}
        if not again:
            return 0.0
        try:
            seconds = self._call.pause(max(again.values(), key=_told_to_wait))
        except Refused:  # no time is left, or no try
            return 0.0
        self.rest = list(again)
        for i in again:
            del self._found[i]
        return seconds


class Blocks:
    """Lines to events: those between blank ones."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def add(self, line: str) -> list[str] | None:
        """The lines of an event when `line` ends it."""
        if line:
            self._lines.append(line)
            return None
        block, self._lines = self._lines, []
        return block


def accepted(answer: httpx2.Response) -> bytes:
    """The body of a good answer that was read. Raises Refused for any other."""
    if answer.status_code == 200:
        return answer.content
    told = answer.headers.get("retry-after", "1")
    problem = {
        "status": answer.status_code,
        "detail": f"status {answer.status_code}",
        "retry_after": int(told) if told.isdecimal() else 1,
    }
    try:
        raise Refused(problem | answer.json())
    except json.JSONDecodeError:  # from a proxy, not from the service
        raise Refused(problem) from None


def _told_to_wait(refused: Refused) -> float:
    """Seconds after which the service asks to come again."""
    return float(refused.problem.get("retry_after", 1))


def _text(option: object) -> object:
    """Several classes have commas between them."""
    if isinstance(option, str) or not isinstance(option, Sequence):
        return option
    return ",".join(str(each) for each in option)
