"""One call, whatever carries it: what is sent, when to come again, what the answer means."""

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx2

from weakpoints_client.models import Detection

AGAIN = {429, 503}  # statuses after which the service asks to come again
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
    """One photograph on its way, until its time or its tries are over."""

    def __init__(
        self,
        key: str | None,
        seconds: float,
        tries: int | None,
        options: Mapping[str, object],
        progress: Progress | None = None,
    ) -> None:
        self.end, self.tries = time.monotonic() + seconds, tries
        self.options, self.progress = dict(options), progress
        self.key = {"Authorization": f"Bearer {key}"} if key else {}

    def request(self, image: bytes) -> dict[str, Any]:
        """The arguments of an httpx2 request. The service is told how much time is left."""
        left = max(0.001, self.end - time.monotonic())
        headers = {"Content-Type": "image/*", "X-Request-Timeout": f"{left:.3f}", **self.key}
        if self.progress:
            headers["Accept"] = "text/event-stream"
        return {"content": image, "params": self.options, "headers": headers, "timeout": left + 1}

    def pause(self, refused: Refused) -> float:
        """Seconds after which to come again.

        Raises the refusal if it is final, if there is no time for that, or no try left.
        """
        if self.tries is not None:
            self.tries -= 1
        seconds = float(refused.problem.get("retry_after", 1))
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
