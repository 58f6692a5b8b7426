"""Record what a command prints as JSON: `python -m benchmarks.keep NAME -- COMMAND...`.

It becomes `benchmarks/results/NAME.json`, with commit, processor and versions.
"""

import json
import subprocess
import sys

from benchmarks.record import record


def main() -> None:
    name, dashes, *command = sys.argv[1:]
    if dashes != "--" or not command:
        raise SystemExit(__doc__)
    figures = json.loads(subprocess.check_output(command))
    record(name, figures)


if __name__ == "__main__":
    main()
