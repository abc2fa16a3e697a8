"""Who decides on a Deployment's replicas on a real cluster: a person, another autoscaler, or ours after a crash."""

from __future__ import annotations

import asyncio
import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.cluster.hpa import hpa
from tests.cluster.release import NAME, SETTLE_S, Release
from tests.cluster.replicas import holds
from tests.local.dev_fleet import until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3600)]

OPERATOR = f"{NAME}-fleet-operator"
# Longer than the window and some looks: an autoscaler that decided would have shrunk.
IDLE_S = 15.0


def test_a_pin_holds_under_load_and_idle_until_it_is_taken_away(shop: Release) -> None:
    shop.kubectl("scale", "wp/orders", "--replicas=3")
    until(lambda: shop.pool("orders")["mode"] == "Pinned" and shop.pool("orders")["readyReplicas"] == 3, SETTLE_S, 0.5)
    ids = [f"pinned-{number}" for number in range(60)]
    with ThreadPoolExecutor(1) as placing:
        placed = placing.submit(shop.place_all, ids)
        until(lambda: _steady(shop, "orders", 3) and not asyncio.run(shop.outcome(ids)).not_completed, SETTLE_S, 0.3)
        placed.result()
    # Payments met the same load without a pin.
    assert any("1 -> " in event for event in shop.events("payments"))
    idle_until = time.monotonic() + IDLE_S
    while time.monotonic() < idle_until:
        assert _steady(shop, "orders", 3)
        time.sleep(0.5)
    assert "kubectl patch wp orders" in shop.pool("orders")["message"]
    shop.kubectl("patch", "wp", "orders", "--type=merge", "-p", '{"spec":{"replicas":null}}')
    until(lambda: shop.pool("orders")["mode"] == "Automatic" and shop.pool("orders")["replicas"] == 1, 60, 0.5)


def test_a_deployment_that_is_scaled_by_hand_is_held_and_then_taken_back(shop: Release) -> None:
    shop.kubectl("scale", f"deployment/{NAME}-orders", "--replicas=3")
    until(lambda: shop.pool("orders")["mode"] == "Held", 30, 0.3)
    assert shop.pool("orders")["message"].startswith("kubectl set 3; held until ")
    assert any(event.startswith("Held kubectl set 3") for event in shop.events("orders"))
    assert "Held" in shop.kubectl("get", "wp", "orders")
    shop.upgrade(queues__orders__holdSeconds="5")
    until(lambda: shop.pool("orders")["mode"] == "Automatic" and shop.pool("orders")["replicas"] == 1, 60, 0.5)


def test_a_paused_pool_is_left_to_people_and_goes_on_from_where_they_left_it(shop: Release) -> None:
    shop.upgrade(queues__orders__paused="true")
    until(lambda: shop.pool("orders")["mode"] == "Paused", 30, 0.5)
    ids = [f"paused-{number}" for number in range(40)]
    with ThreadPoolExecutor(1) as placing:
        placed = placing.submit(shop.place_all, ids)
        until(lambda: _steady(shop, "orders", 1) and not asyncio.run(shop.outcome(ids)).not_completed, SETTLE_S, 0.3)
        placed.result()
    shop.kubectl("scale", f"deployment/{NAME}-orders", "--replicas=2")
    until(lambda: shop.pool("orders")["desiredReplicas"] == 2, 30, 0.3)
    assert shop.pool("orders")["mode"] == "Paused"
    held = len([event for event in shop.events("orders") if event.startswith("Held")])
    shop.upgrade()
    until(lambda: shop.pool("orders")["mode"] == "Automatic" and shop.pool("orders")["replicas"] == 1, 60, 0.5)
    assert len([event for event in shop.events("orders") if event.startswith("Held")]) == held


def test_an_operator_that_dies_between_its_two_writes_takes_its_own_number_for_its_own(shop: Release) -> None:
    role = json.loads(shop.kubectl("get", "role", OPERATOR, "-o", "json"))
    # Without the right to write a status, each scaling ends between the two writes.
    _grant(shop, [rule for rule in role["rules"] if rule["resources"] != ["workerpools/status"]])
    try:
        # Enough for the load to outlast a slow machine's steps.
        shop.place_all([f"killed-{number}" for number in range(120)])
        until(lambda: shop.replicas("payments") > 1, 60, 0.1)
        assert shop.pool("payments")["desiredReplicas"] == 1, "the status knows nothing of it"
        _kill_operator(shop)
    finally:
        _grant(shop, role["rules"])
    until(lambda: shop.pool("payments")["desiredReplicas"] > 1, 60, 0.2)
    until(lambda: shop.pool("payments")["mode"] == "Automatic", 30, 0.5)
    until(lambda: shop.pool("payments")["replicas"] == 1, SETTLE_S, 0.5)
    # Nothing else in this module has held "payments" so far.
    events = shop.events("payments")
    assert holds(events) == []
    assert any(" 1 -> " in event for event in events), "a status that is refused silences no Event"


def test_a_horizontal_pod_autoscaler_is_reported_and_respected(shop: Release) -> None:
    shop.kubectl("create", "-f", "-", stdin=hpa(f"{NAME}-payments", 2))
    # It may be seen before it scales.
    said = "HorizontalPodAutoscaler shop-payments scales the Deployment, 2 now"
    until(lambda: shop.pool("payments")["message"].startswith(said), SETTLE_S, 0.5)
    assert shop.pool("payments")["mode"] == "Held"
    ids = [f"hpa-{number}" for number in range(60)]
    shop.place_all(ids)
    until(lambda: _steady(shop, "payments", 2) and not asyncio.run(shop.outcome(ids)).not_completed, SETTLE_S, 0.3)
    assert any("1 -> " in event for event in shop.events("orders")), "the load was one to scale for"
    assert any(event.startswith("Held HorizontalPodAutoscaler shop-payments") for event in shop.events("payments"))
    shop.kubectl("delete", "hpa", f"{NAME}-payments")
    until(lambda: shop.pool("payments")["mode"] == "Automatic" and shop.pool("payments")["replicas"] == 1, 120, 0.5)


def _steady(shop: Release, pool: str, replicas: int) -> bool:
    """True; fails when the Deployment has another number."""
    assert shop.replicas(pool) == replicas
    return True


def _grant(shop: Release, rules: list[dict[str, Any]]) -> None:
    shop.kubectl("patch", "role", OPERATOR, "--type=merge", "-p", json.dumps({"rules": rules}))


def _kill_operator(shop: Release) -> None:
    """SIGKILL, and wait for the next process in the same pod."""
    (pod,) = [pod["metadata"]["name"] for pod in shop.pods("app.kubernetes.io/component=operator")]
    restarts = shop.restarts(pod)
    shop.kill(pod, "app.operator.main")
    until(lambda: shop.restarts(pod) > restarts, 60, 0.2)
