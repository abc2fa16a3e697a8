"""Rolling restarts of real pods under load: no order lost, nothing done twice, every pod drained within its grace."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.client import Cluster
from tests.cluster.endings import Ending, Endings
from tests.cluster.machine import busy
from tests.cluster.release import NAME, Release, release, temporal_server
from tests.local.dev_fleet import until
from tests.orders.load import SteadyOrders
from tests.parts.postgres import PostgresServer

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(1200)]

ORDERS_PER_S = 4.0
ROLLOUTS = 3
TRIES = 6
POOLS = ("orders", "payments")
WORKERS = "app.kubernetes.io/component=worker"


@pytest.fixture(params=[False, True], ids=["poll-cancel off", "poll-cancel on"])
def shop(
    request: pytest.FixtureRequest, image: Path, cluster: Cluster, postgres_for_pods: PostgresServer
) -> Iterator[Release]:
    """One pod a queue with slots for all: each restart meets work. With the server's flag off, its default, and on."""
    with (
        temporal_server(cluster, poll_cancel=request.param) as temporal,
        release(image, cluster, temporal, postgres_for_pods) as made,
    ):
        made.install(workerDefaults__slots="30", workerDefaults__maxReplicas="1")
        yield made


def test_rolling_restarts_under_load_lose_and_repeat_nothing(shop: Release, request: pytest.FixtureRequest) -> None:
    until(shop.ready, 60)
    name = request.node.callspec.id.replace(" ", "-")
    counted: list[dict[str, int]] = []
    idle: list[dict[str, int]] = []
    with Endings(shop.cluster, shop.namespace, WORKERS) as endings:
        with SteadyOrders(shop.place, ORDERS_PER_S, name) as load, busy() as cpu:
            while len(counted) < ROLLOUTS and len(counted) + len(idle) < TRIES:
                in_hand = _restart(shop, endings)
                # A restart that met an idle pod shows nothing: it is said, and made again.
                (counted if min(in_hand.values()) >= 1 else idle).append(in_hand)
        ended = until(lambda: (e := endings.of(NAME)) and len(e) >= 2 * (len(counted) + len(idle)) and e, 60)
    print(f"{len(load.placed)} orders, {load.rate:.1f}/s, CPU {cpu.percent:.0f} % of {cpu.cores} cores")
    print(f"activities in hand at SIGTERM: {counted}; idle, not counted: {idle or 'none'}")
    print(f"seconds from deletion to exit: {sorted(ending.took_s for ending in ended)} of {ended[0].grace_s:g}")
    assert len(counted) == ROLLOUTS
    assert load.refused == []
    assert load.rate >= 0.9 * ORDERS_PER_S
    assert [ending for ending in ended if not _clean(ending)] == []
    ids = [f"order-{order_id}" for order_id in load.placed]
    until(lambda: _completed(shop, load.placed), 120, 1.0)
    seen = asyncio.run(shop.outcome(load.placed))
    # Handed over while its worker left: it ran once, as attempt 2, after its start-to-close timeout.
    print(f"late, not lost: {seen.retried or 'none'}")
    assert seen.not_completed == []
    assert seen.completed == len(ids)
    assert seen.repeated == []
    assert seen.bodies == seen.scheduled == 3 * len(ids)


def _restart(shop: Release, endings: Endings) -> dict[str, int]:
    """Restart both Deployments and wait until the old pods are gone; what each had in hand at its SIGTERM."""
    old = {pod["metadata"]["name"] for pod in shop.pods(WORKERS)}
    endings.follow_logs()
    for pool in POOLS:
        shop.kubectl("rollout", "restart", f"deployment/{NAME}-{pool}")
    for pool in POOLS:
        shop.kubectl("rollout", "status", f"deployment/{NAME}-{pool}", "--timeout=120s")
    until(lambda: not old & {pod["metadata"]["name"] for pod in shop.pods(WORKERS)}, 120, 0.5)
    until(lambda: all(endings.in_hand(pod) is not None for pod in old), 10)
    return {pod: endings.in_hand(pod) or 0 for pod in sorted(old)}


def _clean(ending: Ending) -> bool:
    return ending.exit_code == 0 and 0 <= ending.took_s <= ending.grace_s


def _completed(shop: Release, order_ids: list[str]) -> bool:
    return not asyncio.run(shop.outcome(order_ids)).not_completed
