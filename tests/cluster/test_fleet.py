"""The fleet on a real Kubernetes: installed by helm, orders done by pods, scaled, pinned, held, and gone again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.client import Cluster
from tests.cluster.release import NAME, SETTLE_S, Release, TemporalServer, release
from tests.local.dev_fleet import until
from tests.parts.postgres import PostgresServer

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def shop(
    image: Path, cluster: Cluster, temporal_for_pods: TemporalServer, postgres_for_pods: PostgresServer
) -> Iterator[Release]:
    """The example's fleet."""
    with release(image, cluster, temporal_for_pods, postgres_for_pods) as made:
        made.install()
        yield made


def test_an_order_through_the_service_is_done_by_the_pods_of_both_queues(shop: Release) -> None:
    until(shop.ready, 30)
    shop.place("first")
    until(lambda: shop.status("first") == "completed", SETTLE_S, 0.5)
    done_by = {activity: worker for order, activity, worker, _ in shop.bodies() if order == "order-first"}
    assert done_by["charge_payment"].startswith(f"{NAME}-payments-")
    assert done_by["schedule_shipment"].startswith(f"{NAME}-orders-")


def test_the_status_of_a_pool_says_what_temporal_knows(shop: Release) -> None:
    until(lambda: shop.pool("orders").get("reason") == "AtMinimum", SETTLE_S, 0.5)
    status = shop.pool("orders")
    assert (status["mode"], status["replicas"], status["desiredReplicas"]) == ("Automatic", 1, 1)
    assert status["slots"] == "0/5"
    assert {c["type"]: c["status"] for c in status["conditions"]}["DemandKnown"] == "True"


def test_100_orders_raise_the_replicas_and_each_completes_once(shop: Release) -> None:
    for number in range(100):
        shop.place(f"burst-{number}")
    until(lambda: shop.pool("payments")["replicas"] > 1, 60, 0.3)
    until(lambda: all(shop.status(f"burst-{n}") == "completed" for n in range(100)), 180, 1.0)
    bodies = [body for body in shop.bodies() if body[0].startswith("order-burst-")]
    assert len(bodies) == len({body[:2] for body in bodies}) == 300
    assert max(attempt for *_, attempt in bodies) == 1
    until(lambda: shop.pool("payments")["replicas"] == 1, SETTLE_S, 0.5)
    events = shop.events("payments")
    assert any(event.startswith(("BacklogWaiting 1 ->", "AtMaximum 1 ->", "WaitTooLong 1 ->")) for event in events)
    assert any(event.startswith("DemandFell") for event in events)


def test_a_pin_holds_until_it_is_taken_away(shop: Release) -> None:
    shop.kubectl("scale", "wp/orders", "--replicas=2")
    until(lambda: shop.pool("orders")["mode"] == "Pinned" and shop.pool("orders")["replicas"] == 2, 30, 0.5)
    assert "kubectl patch wp orders" in shop.pool("orders")["message"]
    shop.kubectl("patch", "wp", "orders", "--type=merge", "-p", '{"spec":{"replicas":null}}')
    until(lambda: shop.pool("orders")["mode"] == "Automatic" and shop.pool("orders")["replicas"] == 1, 60, 0.5)


def test_a_deployment_that_is_scaled_by_hand_is_held_and_then_taken_back(shop: Release) -> None:
    shop.kubectl("scale", f"deployment/{NAME}-orders", "--replicas=3")
    until(lambda: shop.pool("orders")["mode"] == "Held", 30, 0.3)
    assert shop.pool("orders")["message"].startswith("kubectl set 3; held for ")
    assert any(event.startswith("Held kubectl set 3") for event in shop.events("orders"))
    shop.kubectl("patch", "wp", "orders", "--type=merge", "-p", '{"spec":{"holdSeconds":5}}')
    until(lambda: shop.pool("orders")["mode"] == "Automatic" and shop.pool("orders")["replicas"] == 1, 60, 0.5)


def test_uninstall_leaves_nothing_of_the_release(shop: Release) -> None:
    shop.cluster.helm("uninstall", NAME, "--wait", "--timeout=90s", namespace=shop.namespace)
    kinds = "deployments,services,configmaps,serviceaccounts,roles,rolebindings,poddisruptionbudgets,workerpools"
    left = until(
        lambda: shop.kubectl("get", kinds, "-o", "name", "-l", f"app.kubernetes.io/instance={NAME}") or "nothing", 30
    )
    assert left == "nothing"
