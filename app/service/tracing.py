"""OpenTelemetry: FastAPI traces requests where the extra `tracing` is installed and the usual OTEL_... variables name a collector; their stages are added here."""

import time
from collections.abc import Container, Mapping

from fastapi.telemetry import TelemetryConfig
from opentelemetry import trace


def telemetry(untraced: Container[str]) -> TelemetryConfig:
    """For FastAPI: a span a request, `traceparent` honoured, but for the paths that are asked every few seconds."""
    return {
        "auto_configure": True,
        "metrics": False,
        "logs": False,
        "operation_spans": False,
        "exclude": lambda scope: scope["path"] in untraced,
    }


def trace_stages(timing_ms: Mapping[str, float], start: float) -> None:
    """A span for each stage under the request's, one after the other from `start` (time.perf_counter) on."""
    tracer, at = (
        trace.get_tracer("weakpoints"),
        time.time_ns() - round((time.perf_counter() - start) * 1e9),
    )
    for stage, milliseconds in timing_ms.items():
        end = at + round(milliseconds * 1e6)
        tracer.start_span(stage, start_time=at).end(end)
        at = end


def trace_id() -> str:
    """Of the request that runs, 32 hex digits; "" where it is not traced."""
    context = trace.get_current_span().get_span_context()
    return trace.format_trace_id(context.trace_id) if context.is_valid else ""
