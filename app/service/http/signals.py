"""The end of the process, by a signal or by force.

Nothing heavy is imported here: a signal may come before that.
"""

import logging
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

log = logging.getLogger("weakpoints")
STOP = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def on_stop(then: Callable[[int], None]) -> None:
    """Calls `then` with the number of each signal.

    Those that the caller ignores (`nohup`) stay ignored. The first process of a container (PID 1)
    gets no default action: without this, SIGTERM does nothing.
    """

    def handle(number: int, frame: FrameType | None) -> None:
        then(number)

    for number in STOP:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handle)


def leave_on_stop() -> None:
    """A signal ends the process at once with 0.

    It is for while the service is being made: there is nothing to end.
    """
    on_stop(lambda number: os._exit(0))


def leave(code: int) -> NoReturn:
    """Ends the process now.

    With torch, Python's own end takes two seconds of processor for nothing.
    """
    logging.shutdown()
    os._exit(code)


def exit_in(seconds: float, code: int, detail: str) -> None:
    """Ends the process then, unless it has ended: threads that hang can't hold it."""

    def end() -> None:
        log.error(detail)
        leave(code)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
