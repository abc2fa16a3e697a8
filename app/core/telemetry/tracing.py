"""Traces to any OTLP endpoint, told by OpenTelemetry's own variables; without an endpoint nothing is even imported.

OTEL_EXPORTER_OTLP_ENDPOINT (or ..._TRACES_ENDPOINT) switches it on, OTEL_SDK_DISABLED=true off. Temporal's plugin with
its own spans gives the tree of workflows and activities; what no SDK span shows, the wait in the task queue, is added
by `queue_wait.py`. Spans leave in batches on a thread of their own: exporting inside a workflow task would run into the
sandbox and vanish.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
    from temporalio.client import Plugin
    from temporalio.contrib.opentelemetry import ReplaySafeTracerProvider

SCHEDULE_DELAY_MS = 500
"""How long a span waits for company. The SDK's 5 s would lose that much at a kill; 50 ms costs CPU for nothing."""
QUEUE_SPANS = 8192
BATCH_SPANS = 512

_provider: ReplaySafeTracerProvider | None = None


def enabled() -> bool:
    """Whether the environment names an endpoint for traces."""
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    return bool(os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"))


def configure(service: str) -> None:
    """Set the process-wide tracer provider, where tracing is on. `service`: used unless OTEL_SERVICE_NAME is set."""
    global _provider
    if _provider is not None or not enabled():
        return
    from opentelemetry import trace
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from temporalio.contrib.opentelemetry import create_tracer_provider

    os.environ.setdefault("OTEL_SERVICE_NAME", service)
    _provider = create_tracer_provider(resource=Resource.create(), shutdown_on_exit=False)
    _provider.add_span_processor(
        BatchSpanProcessor(
            _late_exporter(),
            max_queue_size=QUEUE_SPANS,
            schedule_delay_millis=SCHEDULE_DELAY_MS,
            max_export_batch_size=BATCH_SPANS,
        )
    )
    trace.set_tracer_provider(_provider)


def plugins() -> Sequence[Plugin]:
    """Temporal plugins that make the spans; none while tracing is off."""
    if _provider is None:
        return ()
    from temporalio.contrib.opentelemetry import OpenTelemetryPlugin

    from app.core.telemetry.queue_wait import QueueWaitPlugin

    return OpenTelemetryPlugin(add_temporal_spans=True), QueueWaitPlugin()


def flush(timeout_s: float) -> bool:
    """Send what is queued, for at most `timeout_s`; whether all of it left.

    The SDK's own flush ignores its timeout (13 s measured with a collector that is down), so the bound is ours.
    """
    provider = _provider
    if provider is None:
        return True
    done = threading.Event()

    def send() -> None:
        provider.force_flush()
        done.set()

    threading.Thread(target=send, name="flush-spans", daemon=True).start()
    return done.wait(timeout_s)


def _late_exporter() -> SpanExporter:
    from opentelemetry.sdk.trace.export import SpanExporter

    class LateExporter(SpanExporter):
        """Makes the real exporter at the first batch: its import costs 0.2 s, which a starting worker does not have."""

        _real: SpanExporter | None = None

        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            real = self._real = self._real or _exporter()
            return real.export(spans)

        def shutdown(self) -> None:
            if self._real is not None:
                self._real.shutdown()

    return LateExporter()


def _exporter() -> SpanExporter:
    protocol = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
    if (protocol or "grpc").startswith("http"):
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter

        return HttpExporter()
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter

    return GrpcExporter()
