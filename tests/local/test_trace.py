"""One trace from the HTTP request to the last activity, read back from a real Jaeger."""

from __future__ import annotations

import json
import urllib.request
import uuid
from collections.abc import Callable

import pytest

from tests.local.dev_fleet import ORDER, DevFleet, until
from tests.orders.trace import SPANS
from tests.parts.jaeger.server import Jaeger, Span

pytestmark = pytest.mark.jaeger


def test_one_trace_spans_request_workflow_activities_and_queue_waits(
    dev_fleet: Callable[..., DevFleet], jaeger: Jaeger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", jaeger.otlp_grpc)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    with dev_fleet("--no-order", settings={"SCALING__MAX_REPLICAS": "2"}) as fleet:
        fleet.ready()
        trace_id = uuid.uuid4().hex
        _place_with_trace(fleet, "traced", trace_id)
        assert fleet.await_order("traced")["status"] == "completed"
        spans = jaeger.wait_for_trace(trace_id, lambda found: set(SPANS) <= {span.name for span in found})
        for number in range(60):
            fleet.place(f"more-{number}")
        scale = until(lambda: _scale_decisions(jaeger), 30, 0.5)
    by_name = {span.name: span for span in spans}
    assert {span.trace_id for span in spans} == {trace_id}, "the caller's own trace goes on"
    assert {name: by_name[name].service for name in SPANS} == SPANS
    ids = {span.span_id for span in spans}
    assert [span.name for span in spans if span.parent_id not in ids] == ["POST /orders"], "no orphan"
    assert len(ids) == len(spans), "no span twice"
    assert _parent(by_name["QueueWait:payments"], spans) == "StartActivity:charge_payment"
    waits = [span for span in spans if span.name.startswith("QueueWait:")]
    assert len(waits) == 4, "of the workflow and of its three activities"
    for wait in waits:
        assert 0 < wait.duration_us < 30_000_000
    assert scale[0].tags["fleet.reason"]
    assert scale[0].tags["fleet.replicas.to"] == 2


def _place_with_trace(fleet: DevFleet, order_id: str, trace_id: str) -> None:
    request = urllib.request.Request(
        f"{fleet.api}/orders",
        method="POST",
        data=json.dumps({"order_id": order_id, **ORDER}).encode(),
        headers={"content-type": "application/json", "traceparent": f"00-{trace_id}-{'ab' * 8}-01"},
    )
    with urllib.request.urlopen(request, timeout=15) as answer:
        assert answer.status == 202


def _parent(span: Span, spans: list[Span]) -> str:
    return next(other.name for other in spans if other.span_id == span.parent_id)


def _scale_decisions(jaeger: Jaeger) -> list[Span]:
    found = [span for trace_id in jaeger.find("fleet") for span in jaeger.trace(trace_id)]
    return [span for span in found if span.name == "ScaleDecision"]
