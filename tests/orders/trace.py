"""What traces must show wherever the fleet runs: an order, from the request to its last activity, and a scaling."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence

from app.scaling.policy import Reason
from tests.parts.jaeger.server import Jaeger, Span

ORDER_SPANS = {
    "POST /orders": "api",
    "StartWorkflow:OrderWorkflow": "api",
    "RunWorkflow:OrderWorkflow": "worker-orders",
    "QueueWait:orders": "worker-orders",
    "QueueWait:payments": "worker-payments",
    "RunActivity:charge_payment": "worker-payments",
    "RunActivity:reserve_inventory": "worker-orders",
    "RunActivity:schedule_shipment": "worker-orders",
}
"""Span -> service."""
_LONGEST_WAIT_US = 30_000_000
_GROWTH = {Reason.SLOTS_BUSY, Reason.BACKLOG_WAITING, Reason.WAIT_TOO_LONG, Reason.AT_MAXIMUM}


def new_trace() -> tuple[str, Mapping[str, str]]:
    """The id of a trace that is the caller's, and the header that makes a request go on with it."""
    trace_id = uuid.uuid4().hex
    return trace_id, {"traceparent": f"00-{trace_id}-{'ab' * 8}-01"}


def order_trace(jaeger: Jaeger, trace_id: str) -> list[Span]:
    """The spans of an order's trace, once each kind of them is there. Raises TimeoutError."""
    return jaeger.wait_for_trace(trace_id, lambda found: set(ORDER_SPANS) <= {span.name for span in found})


def assert_one_whole_trace(trace_id: str, spans: Sequence[Span]) -> None:
    """Request, workflow, activities and waits are one tree, below the caller's own span."""
    by_name = {span.name: span for span in spans}
    by_id = {span.span_id: span for span in spans}
    assert {span.trace_id for span in spans} == {trace_id}, "the caller's own trace goes on"
    assert {name: by_name[name].service for name in ORDER_SPANS} == ORDER_SPANS
    assert [span.name for span in spans if span.parent_id not in by_id] == ["POST /orders"], "no orphan"
    assert len(by_id) == len(spans), "no span twice"
    above = by_id[by_name["QueueWait:payments"].parent_id or ""]
    assert above.name == "StartActivity:charge_payment"
    waits = [span for span in spans if span.name.startswith("QueueWait:")]
    assert len(waits) == 4, "of the workflow and of its three activities"
    assert all(0 < wait.duration_us < _LONGEST_WAIT_US for wait in waits), [wait.duration_us for wait in waits]


def scale_decisions(jaeger: Jaeger, service: str) -> list[Span]:
    """The changes of scale that a process of this name decided on, in order."""
    spans = [span for trace_id in jaeger.find(service) for span in jaeger.trace(trace_id)]
    return sorted((span for span in spans if span.name == "ScaleDecision"), key=lambda span: span.start_us)


def assert_explains_growth(decision: Span, most: int) -> None:
    """A pool of one grew, to `most` at most: of which queue, from what to what, and why."""
    tags = decision.tags
    assert tags["temporalTaskQueue"] in ("orders", "payments")
    assert tags["fleet.reason"] in _GROWTH
    assert tags["fleet.message"]
    before, after = tags["fleet.replicas.from"], tags["fleet.replicas.to"]
    assert isinstance(after, int)
    assert (before, 1 < after <= most) == (1, True), (before, after)
    assert decision.parent_id is None, "a trace of its own"
