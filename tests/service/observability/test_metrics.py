import json
import re
from pathlib import Path

import pytest

from app.service.observability.metrics import Metrics
from tests.service import (
    STREAM,
    dropped,
    faulty,
    picture,
    post,
    request_head,
    running,
    serving,
    until,
)
from weakpoints.method.detector import Detector


def test_what_is_given_up_is_counted_by_reason_streamed_or_not(detector: Detector) -> None:
    slow = faulty(detector)
    with running(lambda: slow) as (server, client):
        post(client, 70, **{"x-request-timeout": "0.2"})
        until(lambda: server.service.pipeline.worker._queue._forecast.idle)  # or the next gets 429
        post(client, 70, **STREAM, **{"x-request-timeout": "0.2"})
        assert dropped(client) == {"deadline": 2}
        for accept in ("application/json", "text/event-stream"):
            slow.stopped.clear()
            before, data = len(slow.chunks), picture(70)
            connection, head = request_head(client, len(data), accept)
            connection.sendall(head + data)
            until(lambda before=before: len(slow.chunks) > before)
            connection.close()
            assert slow.stopped.wait(30)
        connection, head = request_head(client, 1000)
        connection.sendall(head + b"half of it")
        connection.close()
        until(lambda: dropped(client)["disconnect"] == 3)
        assert dropped(client) == {"deadline": 2, "disconnect": 3}
        text = client.get("/metrics").text
        assert "weakpoints_refused_total{" not in text
        post(client, 71, **STREAM)
        assert 'weakpoints_refused_total{reason="out-of-memory"} 1.0' in client.get("/metrics").text


def test_the_wait_for_the_device_is_a_stage_of_those_that_waited(detector: Detector) -> None:
    with serving(lambda: detector) as client:
        for _ in range(3):
            post(client, 90)
        text = client.get("/metrics").text
    assert 'weakpoints_stage_seconds_count{stage="queue"} 1.0' in text
    assert 'weakpoints_stage_seconds_count{stage="decode"} 1.0' in text


ROOT = Path(__file__).parents[3]
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("_total",), "gauge": ("",)}
OURS = {
    family.name + suffix: family.name
    for family in Metrics().registry.collect()
    for suffix in SUFFIXES.get(family.type, ())
    if family.name.startswith(("weakpoints_", "process_resident_memory"))
}


def test_probes_by_head_files_and_odd_requests_are_counted_by_their_route(
    detector: Detector, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(lambda: detector) as client, caplog.at_level("INFO", "weakpoints"):
        for path in ("/livez", "/readyz", "/", "/page/page.js", "/page/none.js", "/detect", "/no"):
            client.head(path)
        text = client.get("/metrics").text
    counted = re.findall(
        r'^weakpoints_request_seconds_count\{route="(.*)",status="(\d+)"\} (\d+)',
        text,
        re.MULTILINE,
    )
    assert sorted(counted) == [
        ("/", "200", "1"),
        ("/detect", "405", "1"),
        ("/livez", "200", "1"),
        ("/page/{path:path}", "200", "1"),
        ("/page/{path:path}", "404", "1"),
        ("/readyz", "200", "1"),
        ("unmatched", "404", "1"),
    ]
    logged = [getattr(record, "route", None) for record in caplog.records]
    assert "/livez" not in logged
    assert "/readyz" not in logged


def test_the_dashboard_asks_for_metrics_that_there_are_and_for_all_of_them() -> None:
    panels = json.loads((ROOT / "monitoring" / "grafana" / "weakpoints.json").read_text())["panels"]
    asked = [target["expr"] for panel in panels for target in panel["targets"]]
    assert len(asked) >= len(panels) > 9
    names = {
        name
        for expression in asked
        for name in re.findall(r"\b(?:weakpoints|process)_\w+", expression)
    }
    assert names <= set(OURS)
    assert {OURS[name] for name in names} == set(OURS.values())
    labels = {
        label
        for expression in asked
        for label in re.findall(r"by \((\w+)\)|(\w+)=", expression)
        for label in label
        if label
    }
    assert labels <= {"le", "stage", "status", "reason", "route"}
