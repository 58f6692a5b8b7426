"""What a collector receives, from a process of its own as in production."""

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import pairwise
from pathlib import Path

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.service import post, process

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@contextmanager
def collector() -> Iterator[tuple[str, list[Span]]]:
    """Its address, and the spans that came."""
    spans: list[Span] = []

    class Receive(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            body = gzip.decompress(body) if self.headers["content-encoding"] == "gzip" else body
            assert self.path == "/v1/traces"
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                assert any(
                    each.value.string_value == "keypoints" for each in resource.resource.attributes
                )
                spans.extend(span for scope in resource.scope_spans for span in scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Receive) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", spans
        finally:
            server.shutdown()
            thread.join()


def test_a_request_and_its_stages_are_traced_and_its_log_line_says_so(tmp_path: Path) -> None:
    with collector() as (url, spans):
        with process(
            tmp_path / "log", OTEL_EXPORTER_OTLP_ENDPOINT=url, OTEL_SERVICE_NAME="keypoints"
        ) as (_, client):
            assert post(client, 90, traceparent=f"00-{TRACE}-{PARENT}-01").status_code == 200
            assert post(client, 90, **{"content-encoding": "gzip"}).status_code == 415
        names = [span.name for span in spans]
        assert names.count("POST /detect") == 2
        assert not any("livez" in name or "readyz" in name for name in names)
        request = next(span for span in spans if span.parent_span_id.hex() == PARENT)
        assert (request.name, request.trace_id.hex()) == ("POST /detect", TRACE)
        stages = [span for span in spans if span.parent_span_id == request.span_id]
        assert [span.name for span in stages][:4] == ["upload", "decode", "prepare", "queue"]
        assert {"trace", "occlusion", "guided", "keypoints"} <= {span.name for span in stages}
        assert len(spans) == len(stages) + 2
        for before, after in pairwise(stages):
            assert before.end_time_unix_nano == after.start_time_unix_nano
        slack = 5_000_000  # ns: stages are timed by another clock than the request
        assert request.start_time_unix_nano - slack < stages[0].start_time_unix_nano
        assert stages[-1].end_time_unix_nano < request.end_time_unix_nano + slack
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [line.get("trace_id") for line in lines if line.get("status") == 200] == [TRACE]
