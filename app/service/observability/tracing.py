"""OpenTelemetry: the stages of each request, below the span that FastAPI makes for it.

It is on where the extra `tracing` is installed and the usual OTEL_... variables name a collector.
"""

import time
from collections.abc import Callable

from fastapi.telemetry import TelemetryConfig
from opentelemetry import trace
from starlette.types import Scope

from weakpoints.method.stopwatch import Stopwatch


def telemetry(untraced: Callable[[Scope], bool]) -> TelemetryConfig:
    """For FastAPI: one span for each request that is not `untraced`."""
    return {
        "auto_configure": True,
        "metrics": False,
        "logs": False,
        "operation_spans": False,
        "exclude": untraced,
    }


def trace_stages(clock: Stopwatch) -> None:
    """A span for each lap of the stopwatch, under the request's span."""
    tracer = trace.get_tracer("weakpoints")
    epoch = time.time_ns() - round(time.perf_counter() * 1e9)  # of perf_counter's zero
    for lap in clock.laps:
        begun = epoch + round(lap.start * 1e9)
        tracer.start_span(lap.stage, start_time=begun).end(epoch + round(lap.end * 1e9))


def trace_id() -> str:
    """The trace's id of the current request, 32 hex digits; "" where it is not traced."""
    context = trace.get_current_span().get_span_context()
    return trace.format_trace_id(context.trace_id) if context.is_valid else ""


def flush() -> None:
    """Sends the spans that are still kept. Python's own end would do that."""
    provider = trace.get_tracer_provider()
    if hasattr(provider, "shutdown"):  # the SDK's; without it there is nothing to send
        provider.shutdown()
