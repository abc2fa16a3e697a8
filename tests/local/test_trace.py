"""One trace from the HTTP request to the last activity, read back from a real Jaeger."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Mapping

import pytest

from tests.local.dev_fleet import ORDER, DevFleet, until
from tests.orders.trace import (
    assert_explains_growth,
    assert_one_whole_trace,
    new_trace,
    order_trace,
    scale_decisions,
)
from tests.parts.jaeger.server import Jaeger

pytestmark = pytest.mark.jaeger


def test_one_trace_spans_request_workflow_activities_and_queue_waits(
    dev_fleet: Callable[..., DevFleet], jaeger: Jaeger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", jaeger.otlp_grpc)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    with dev_fleet("--no-order", settings={"SCALING__MAX_REPLICAS": "2"}) as fleet:
        fleet.ready()
        trace_id, headers = new_trace()
        _place(fleet, "traced", headers)
        assert fleet.await_order("traced")["status"] == "completed"
        spans = order_trace(jaeger, trace_id)
        for number in range(60):
            fleet.place(f"more-{number}")
        first, *_ = until(lambda: scale_decisions(jaeger, "fleet"), 30, 0.5)
    assert_one_whole_trace(trace_id, spans)
    assert_explains_growth(first, most=2)


def _place(fleet: DevFleet, order_id: str, headers: Mapping[str, str]) -> None:
    request = urllib.request.Request(
        f"{fleet.api}/orders",
        method="POST",
        data=json.dumps({"order_id": order_id, **ORDER}).encode(),
        headers={"content-type": "application/json", **headers},
    )
    with urllib.request.urlopen(request, timeout=15) as answer:
        assert answer.status == 202
