"""The real Jaeger takes spans and gives them back."""

from __future__ import annotations

import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import format_span_id, format_trace_id

from .jaeger.server import Jaeger


@pytest.mark.jaeger
def test_nested_spans_come_back(jaeger: Jaeger) -> None:
    provider = TracerProvider(resource=Resource({"service.name": "parts-jaeger"}), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=jaeger.otlp_grpc)))
    tracer = provider.get_tracer("parts")
    tags: dict[str, str | int] = {"attempt": 2, "big": 2**60, "queue": "a"}
    with (
        tracer.start_as_current_span("outer") as outer,
        tracer.start_as_current_span("inner", attributes=tags) as inner,
    ):
        pass
    provider.shutdown()

    trace_id = format_trace_id(outer.get_span_context().trace_id)
    first, second = jaeger.wait_for_trace(trace_id, lambda spans: len(spans) == 2)

    assert (first.name, second.name) == ("outer", "inner")
    assert {first.trace_id, second.trace_id} == {trace_id}
    assert first.span_id == format_span_id(outer.get_span_context().span_id)
    assert second.span_id == format_span_id(inner.get_span_context().span_id)
    assert (first.parent_id, second.parent_id) == (None, first.span_id)
    assert {first.service, second.service} == {"parts-jaeger"}
    assert second.start_us >= first.start_us
    assert second.start_us + second.duration_us <= first.start_us + first.duration_us + 1
    assert {key: second.tags[key] for key in tags} == tags

    assert jaeger.find("parts-jaeger") == [trace_id]
    assert jaeger.trace("0" * 31 + "1") == []
    with pytest.raises(TimeoutError, match="outer, inner"):
        jaeger.wait_for_trace(trace_id, lambda spans: len(spans) == 3, timeout_s=0.2)
