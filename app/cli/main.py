"""`weakpoints`: the commands, and their exit codes.

Results go to stdout, all else to stderr. Exit codes: 0 done, 1 some input failed, 2 wrong usage,
130 interrupted, 141 nobody reads the output any more. A command imports what it needs when it is
asked, so that help and version are shown at once.
"""

import os
import sys
from io import TextIOWrapper

from cyclopts import CycloptsError

from app.cli.batch import batch
from app.cli.benchmark import benchmark
from app.cli.detect import detect
from app.cli.doctor import doctor
from app.cli.evaluate import evaluate
from app.cli.landmarks import landmarks
from app.cli.networks import networks
from app.cli.parameters import command_group
from app.cli.serve import serve
from app.cli.terminal import say
from app.cli.weights import weights
from weakpoints import __version__
from weakpoints.errors import WeakpointsError
from weakpoints.threads import wait_without_spinning

weakpoints = command_group(
    "weakpoints",
    "Keypoints of the main object in a photograph, without any keypoint annotation.",
)
weakpoints.version = __version__
weakpoints.suppress_keyboard_interrupt = False
for command in (serve, detect, landmarks, batch, networks, weights, doctor, evaluate, benchmark):
    weakpoints.command(command)


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns its exit code."""
    _open_standard_files()
    _escape_what_cannot_be_said()
    try:
        wait_without_spinning()  # before PyTorch is loaded, which reads it once
        status: int | None = weakpoints(
            with_stdin(sys.argv[1:] if arguments is None else arguments),
            result_action="return_value",
            exit_on_error=False,
            print_error=False,
        )
        if sys.stdout is not None:  # a daemon may have none
            sys.stdout.flush()
        return status or 0
    except CycloptsError as error:
        return say(str(error), 2)
    except WeakpointsError as error:
        return say(str(error))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read it has had enough, as `head` does
        _give_stdout_up()
        return 141  # what a shell says of a process that SIGPIPE ended
    except OSError as error:
        _give_stdout_up()
        # Without a file it is most often stdout; the class of a connection says that it is not.
        place = "" if isinstance(error, ConnectionError) else f"{error.filename or 'the output'}: "
        return say(f"{place}{error.strerror or error}")


def with_stdin(words: list[str]) -> list[str]:
    """As they are, but for `-` in place of a photograph, which is stdin."""
    reads = words[:1] == ["detect"] or words[:2] == ["landmarks", "find"]
    before = ["", *words]
    return [
        "/dev/stdin" if reads and word == "-" and not before[i].startswith("--") else word
        for i, word in enumerate(words)
    ]


def _open_standard_files() -> None:
    """A daemon may have none of them: the next files and sockets would take their numbers.

    And whoever writes to number 2 would write into one of those. Python's own, `sys.stderr`, stays
    None.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free


def _escape_what_cannot_be_said() -> None:
    """A terminal, cron or a pipe may not take every letter: names get backslashes, as in `ls`."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _give_stdout_up() -> None:
    """Or Python would try to write what is left once more when it ends."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    raise SystemExit(main())
