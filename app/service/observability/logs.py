"""Logs as one JSON object a line, on stderr."""

import logging
import threading
from typing import Any

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter as Json


class JsonFormatter(Json):
    """time, level, logger, message, what the caller of the logger added, and the exception."""

    def __init__(self) -> None:
        super().__init__(
            "{levelname}{name}{message}",
            style="{",
            rename_fields={"levelname": "level", "name": "logger", "exc_info": "exception"},
            reserved_attrs=[*RESERVED_ATTRS, "color_message"],
            timestamp="time",
        )

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        """Levels in small letters."""
        return log_data | {"level": log_data["level"].lower()}


def json_handler() -> logging.Handler:
    """For `logging.basicConfig`."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    return handler


def log_as_json() -> None:
    """For a process of its own: all that it writes on stderr is JSON.

    So are Python's warnings, and what a thread dies of.
    """
    logging.basicConfig(level=logging.INFO, handlers=[json_handler()])
    logging.captureWarnings(True)
    threading.excepthook = _thread_died


def _thread_died(how: threading.ExceptHookArgs) -> None:
    error = (how.exc_type, how.exc_value or how.exc_type(), how.exc_traceback)
    logging.getLogger("weakpoints").error("a thread died", exc_info=error)
