import json
import logging

from app.service.logs import JsonFormatter


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
