"""The traces of a fleet of pods: an order's, which the pods of both queues make together, and the operator's own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.client import Cluster
from tests.cluster.release import NAME, SETTLE_S, Release, TemporalServer, release
from tests.local.dev_fleet import ORDER, until
from tests.orders.trace import (
    assert_explains_growth,
    assert_one_whole_trace,
    new_trace,
    order_trace,
    scale_decisions,
)
from tests.parts.jaeger.server import Jaeger, Span
from tests.parts.postgres import PostgresServer

pytestmark = [pytest.mark.cluster, pytest.mark.jaeger, pytest.mark.timeout(3600)]

_MAX_REPLICAS = 4


@pytest.fixture(scope="module")
def shop(
    image: Path,
    cluster: Cluster,
    temporal_for_pods: TemporalServer,
    postgres_for_pods: PostgresServer,
    jaeger_for_pods: Jaeger,
) -> Iterator[Release]:
    """The example's fleet, whose every container is told of a Jaeger as a user would tell it: by `env`."""
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": jaeger_for_pods.otlp_grpc, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    listed = [{"name": name, "value": value} for name, value in env.items()]
    with release(image, cluster, temporal_for_pods, postgres_for_pods) as made:
        made.install("--set-json", f"env={json.dumps(listed)}", workerDefaults__maxReplicas=str(_MAX_REPLICAS))
        yield made


def test_one_trace_spans_the_pods_of_the_api_and_of_both_queues(shop: Release, jaeger_for_pods: Jaeger) -> None:
    until(shop.ready, 30)
    pods = _pods(shop)
    trace_id, headers = new_trace()
    shop.call("POST", "/orders", {"order_id": "traced", **ORDER}, headers)
    until(lambda: shop.status("traced") == "completed", SETTLE_S, 0.5)
    spans = order_trace(jaeger_for_pods, trace_id)
    assert_one_whole_trace(trace_id, spans)
    made_by = {span.name: _maker(span, pods) for span in spans}
    assert all(_maker(span, pods) == span.service.removeprefix("worker-") for span in spans)
    assert made_by["RunActivity:charge_payment"] == made_by["QueueWait:payments"] == "payments"
    assert made_by["RunActivity:schedule_shipment"] == made_by["RunWorkflow:OrderWorkflow"] == "orders"
    assert made_by["POST /orders"] == "api"


def test_a_change_of_scale_is_a_trace_of_the_operator(shop: Release, jaeger_for_pods: Jaeger) -> None:
    shop.place_all([f"burst-{number}" for number in range(60)])
    first, *_ = until(lambda: scale_decisions(jaeger_for_pods, "operator"), 60, 0.5)
    assert_explains_growth(first, most=_MAX_REPLICAS)
    assert _maker(first, _pods(shop)) == "operator"
    pool, reason, message = (str(first.tags[key]) for key in ("temporalTaskQueue", "fleet.reason", "fleet.message"))
    change = f"{first.tags['fleet.replicas.from']} -> {first.tags['fleet.replicas.to']}"
    # `kubectl describe` tells the same.
    assert f"{reason} {change} replicas: {message}" in shop.events(pool)


def _pods(shop: Release) -> dict[str, dict[str, Any]]:
    """The release's pods by name."""
    return {pod["metadata"]["name"]: pod for pod in shop.pods(f"app.kubernetes.io/instance={NAME}")}


def _maker(span: Span, pods: dict[str, dict[str, Any]]) -> str:
    """The pool, else the component, of the pod that made a span, which is one of `pods` and says so in full."""
    pod = pods[str(span.resource["k8s.pod.name"])]
    metadata = pod["metadata"]
    said = {
        "service.namespace": NAME,
        "service.instance.id": metadata["name"],
        "k8s.namespace.name": metadata["namespace"],
        "k8s.pod.name": metadata["name"],
        "k8s.pod.uid": metadata["uid"],
        "k8s.node.name": pod["spec"]["nodeName"],
    }
    assert {key: span.resource.get(key) for key in said} == said
    labels = metadata["labels"]
    return str(labels.get("workerfleet.dev/pool") or labels["app.kubernetes.io/component"])
