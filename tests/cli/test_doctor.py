import json

import pytest

from app.cli import main as cli
from weakpoints import __version__


def test_doctor_says_what_is_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "--network", "bundled", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["weakpoints"] == __version__
    assert (found["device"], found["precision"]) == ("cpu", "float32")
    assert found["packages"]["torch"]
    assert found["device_memory_bytes"] > 2**28
    assert found["paths"] == []
