import json

import pytest

from app.cli import main as cli
from benchmarks import load


def test_every_request_is_answered_and_set_against_the_engine(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(load, "CALLER_COUNTS", (1, 6))
    assert (
        cli.main(["benchmark", "service", "--requests", "12", "--device-ms", "30", "--json"]) == 0
    )
    found = json.loads(capsys.readouterr().out)
    assert 0 < found["engine"]["images_per_second"] <= 1 / 0.03
    for run in (found["1_callers"], found["6_callers"]):
        assert (run["answered"], run["mixed_up"], run["lost"]) == (12, 0, {})
        assert run["of_the_engine"] == pytest.approx(
            run["images_per_second"] / found["engine"]["images_per_second"]
        )
        assert run["latency_ms"]["p50"] > 30


def test_answers_for_another_photograph_are_noticed() -> None:
    run = load.LoadRun(
        answered=2, mixed_up=1, seconds=1, latencies=[0.1, 0.1], probes=[0.001], memory=[5, 5, 9]
    )
    figures = load._load_figures(run, {"images_per_second": 4, "ms_per_image": 25})
    assert (figures["mixed_up"], figures["of_the_engine"], figures["memory_growth_bytes"]) == (
        1,
        0.5,
        4,
    )
    assert figures["on_top_ms"] == pytest.approx(75)


def test_impossible_loads_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["benchmark", "service", "--requests", "0"]) == 2
    assert 'Invalid value "0" for --requests' in capsys.readouterr().err
