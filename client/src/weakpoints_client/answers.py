"""What the service answers: problems, lines and events, and what somebody else answers instead."""

import json
import math
from typing import Any, TypeVar

import httpx2
from pydantic import BaseModel, ValidationError

ENDED = "the stream ended before the result"
AnswerModel = TypeVar("AnswerModel", bound=BaseModel)


class Refused(Exception):
    """The service's problem: its status, its stable type, and every figure in `problem`."""

    def __init__(self, problem: dict[str, Any]) -> None:
        super().__init__(problem)  # as it stands, so that it can be sent to another process
        self.problem = problem
        self.status = int(problem.get("status", 0))
        self.type = str(problem.get("type", ""))

    def __str__(self) -> str:
        return str(self.problem.get("detail", ""))


def refusal(error: Exception) -> Refused:
    """An error in place of an answer; status 0 where nothing came from the service."""
    if isinstance(error, Refused):
        return error
    refused = Refused({"detail": f"no answer: {type(error).__name__} {error}"})
    refused.__cause__ = error
    return refused


def accepted(answer: httpx2.Response) -> bytes:
    """The body of a good answer that was read. Raises Refused for any other."""
    if answer.status_code == 200:
        return answer.content
    raise Refused(_problem_of(answer))


def read_answer(kind: type[AnswerModel], body: str | bytes) -> AnswerModel:
    """Raises DecodingError for what somebody else answered, such as a proxy's page.

    Or a service of another version than this client.
    """
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        why = f"{'.'.join(map(str, first['loc']))}: {first['msg']}".removeprefix(": ")
        raise _foreign(body, why) from error


def json_of(line: str) -> dict[str, Any]:
    """One object of a stream. Raises DecodingError for anything else."""
    try:
        value = json.loads(line)
    except ValueError as error:
        raise _foreign(line) from error
    if not isinstance(value, dict):
        raise _foreign(line)
    return value


def _foreign(body: str | bytes, why: str = "no JSON object") -> httpx2.DecodingError:
    return httpx2.DecodingError(
        f"the answer is none that this client knows ({why}); it begins {body[:60]!r}"
    )


def _problem_of(answer: httpx2.Response) -> dict[str, Any]:
    """The service's; of an answer that a proxy gave, what its status and headers say."""
    status, moved = answer.status_code, answer.headers.get("location")
    seconds = answer.headers.get("retry-after", "1")
    problem = {
        "status": status,
        "detail": f"status {status}" + (f": it has moved to {moved}" if moved else ""),
        "retry_after": int(seconds[:9]) if seconds.isdecimal() else 1,
    }
    try:
        body = answer.json()
    except ValueError:  # no JSON, or no text
        return problem
    ours = isinstance(body, dict) and body.get("status", status) == status
    return problem | body if ours else problem


def told_to_wait(refused: Refused) -> float:
    """Seconds after which the service asks to come again."""
    seconds = refused.problem.get("retry_after", 1)
    usable = isinstance(seconds, int | float) and 0 <= seconds < math.inf
    return float(seconds) if usable else 1.0


class Lines:
    """Bytes to lines, as they come. A line feed alone ends one: labels may have U+2028."""

    def __init__(self) -> None:
        self._rest = b""

    def add(self, piece: bytes) -> list[str]:
        """The lines that `piece` ends; an empty piece, after the last, ends what is left."""
        piece = piece or (b"\n" if self._rest else b"")
        *whole, self._rest = (self._rest + piece).split(b"\n")
        return [line.removesuffix(b"\r").decode(errors="replace") for line in whole]


class EventBlocks:
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
