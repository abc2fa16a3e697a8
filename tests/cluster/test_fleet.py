"""The fleet on a real Kubernetes: installed by helm, orders done by pods, scaled by load, to 0 and back, gone again."""

from __future__ import annotations

import asyncio
import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.cluster.objects import objects
from tests.cluster.release import NAME, SETTLE_S, Release
from tests.local.dev_fleet import until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3600)]

POOLS = ("orders", "payments")


def test_an_order_through_the_service_is_done_by_the_pods_of_both_queues(shop: Release) -> None:
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


def test_100_orders_at_once_raise_the_replicas_and_each_completes_once(shop: Release) -> None:
    ids = [f"burst-{number}" for number in range(100)]
    before = {pool: len(shop.events(pool)) for pool in POOLS}
    begin = time.monotonic()
    with ThreadPoolExecutor(1) as placing:
        placed = placing.submit(shop.place_all, ids)
        until(lambda: any(_risen(shop.events(pool)[before[pool] :]) for pool in POOLS), 60, 0.2)
        # In seconds it is `python -m benchmarks.burst` that tells: here others load the machine, and all is late.
        print(f"the first Event of a rise: {_since(begin)} after the first of 100 orders")
        placed.result()
        assert asyncio.run(shop.outcome(ids)).not_completed, "it rose while there was work for more pods"
    until(lambda: not asyncio.run(shop.outcome(ids)).not_completed, 180, 1.0)
    seen = asyncio.run(shop.outcome(ids))
    print(f"all done after {_since(begin)}; late, not lost: {seen.retried or 'none'}")
    assert (seen.completed, seen.bodies, seen.scheduled) == (100, 300, 300)
    assert seen.repeated == []
    until(lambda: all(shop.pool(pool)["replicas"] == 1 for pool in POOLS), SETTLE_S, 0.5)
    for pool in POOLS:
        changes = [event for event in shop.events(pool) if " -> " in event]
        print(f"{pool}:", *changes, sep="\n  ")
        assert _risen(changes)
        assert [change for change in changes if not re.match(r"[A-Z]\w+ \d+ -> \d+ replicas: \S.+", change)] == []
        assert max(_to(change) for change in changes) <= 4
        assert _to(changes[-1]) == 1


def test_an_idle_queue_goes_to_0_and_comes_back_for_the_next_order(shop: Release) -> None:
    shop.upgrade(queues__payments__minReplicas="0", queues__payments__idleSeconds="5")
    until(lambda: shop.replicas("payments") == 0 and not shop.pods("workerfleet.dev/pool=payments"), SETTLE_S, 0.5)
    assert any(event.startswith("Idle 1 -> 0") for event in shop.events("payments"))
    begin = time.monotonic()
    shop.place("after-sleep")
    until(lambda: shop.status("after-sleep") == "completed", SETTLE_S, 0.2)
    print(f"from 0: the order was done after {_since(begin)}")
    shop.upgrade()
    until(lambda: shop.pool("payments")["replicas"] == 1, SETTLE_S, 0.5)


def test_uninstall_leaves_nothing_of_the_release(shop: Release) -> None:
    shop.cluster.helm("uninstall", NAME, "--wait", "--timeout=90s", namespace=shop.namespace)
    until(lambda: not objects(shop.cluster, shop.namespace), 60, 0.5)


def _risen(events: list[str]) -> bool:
    return any(re.search(r" 1 -> [2-9]", event) for event in events)


def _to(change: str) -> int:
    match = re.search(r" -> (\d+) replicas", change)
    assert match
    return int(match[1])


def _since(begin: float) -> str:
    return f"{time.monotonic() - begin:.1f} s"
