import json
import logging
import subprocess
import sys

from app.service.observability.logs import JsonFormatter


def test_a_line_is_one_json_object_with_what_the_caller_added() -> None:
    record = logging.makeLogRecord(
        {"name": "weakpoints", "levelname": "INFO", "msg": "request %s", "args": ("é",)}
        | {"route": "/detect", "status": 200, "color_message": "not for a file"}
    )
    line = JsonFormatter().format(record)
    assert "\n" not in line
    told = json.loads(line)
    assert told.pop("time").endswith("+00:00")
    assert told == {
        "level": "info",
        "logger": "weakpoints",
        "message": "request é",
        "route": "/detect",
        "status": 200,
    }


def test_an_exception_stays_on_the_line() -> None:
    try:
        raise KeyError("k")
    except KeyError as error:
        made = logging.makeLogRecord({"exc_info": (KeyError, error, error.__traceback__)})
    line = JsonFormatter().format(made)
    assert "\n" not in line
    assert "KeyError" in json.loads(line)["exception"]


def test_all_that_a_process_writes_on_stderr_is_json() -> None:
    code = """
import logging, threading, warnings
from app.service.observability.logs import log_as_json

log_as_json()
warnings.warn("odd")
logging.getLogger("uvicorn.error").warning("no\\nnew line")
threading.Thread(target=lambda: 1 / 0).start()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["logger"] for line in lines] == ["py.warnings", "uvicorn.error", "weakpoints"]
    assert "odd" in lines[0]["message"]
    assert "ZeroDivisionError" in lines[2]["exception"]
