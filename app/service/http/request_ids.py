"""The id of a request, on its answer, in its problem and in the log."""

import re
import uuid
from collections.abc import Mapping

HARMLESS = re.compile(r"[A-Za-z0-9._-]{1,128}")


def request_id_of(headers: Mapping[str, str]) -> str:
    """The caller's X-Request-ID where it is harmless, else a new one of 32 hex digits."""
    given = headers.get("x-request-id", "")
    return given if HARMLESS.fullmatch(given) else uuid.uuid4().hex
