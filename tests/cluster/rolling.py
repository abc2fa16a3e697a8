"""Rolling restarts of worker pods under load: what each pod had in hand and how it ended; what became of orders.

For the test, and for the proof of many restarts (`python -m benchmarks.rollouts`). A pod a queue, with slots for all:
each restart meets work.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.cluster.client import Cluster
from tests.cluster.endings import Ending, Endings
from tests.cluster.release import NAME, Release, release, temporal_server
from tests.local.dev_fleet import until
from tests.orders.book import Outcome
from tests.parts.postgres import PostgresServer

POOLS = ("orders", "payments")
WORKERS = "app.kubernetes.io/component=worker"
ACTIVITIES = 3
"""Of an order."""
_ROLLOUT_LIMIT_S = 120


@contextmanager
def one_pod_a_queue(
    image: Path, cluster: Cluster, ledger: PostgresServer, *, poll_cancel: bool
) -> Iterator[tuple[Release, Endings]]:
    """A ready release and the endings of its pods; `poll_cancel`: the server's flag, as for temporal_server."""
    with (
        temporal_server(cluster, poll_cancel=poll_cancel) as temporal,
        release(image, cluster, temporal, ledger) as shop,
    ):
        shop.install(workerDefaults__slots="30", workerDefaults__maxReplicas="1")
        until(shop.ready, 60)
        with Endings(cluster, shop.namespace, WORKERS) as endings:
            yield shop, endings


def restart(shop: Release, endings: Endings) -> list[Ending]:
    """Restart both Deployments and wait until the old pods are gone; how each of them ended."""
    old = {pod["metadata"]["name"] for pod in shop.pods(WORKERS)}
    endings.follow_logs()
    for pool in POOLS:
        shop.kubectl("rollout", "restart", f"deployment/{NAME}-{pool}")
    for pool in POOLS:
        shop.kubectl("rollout", "status", f"deployment/{NAME}-{pool}", f"--timeout={_ROLLOUT_LIMIT_S}s")

    def ended() -> list[Ending]:
        found = [ending for ending in endings.of(NAME) if ending.pod in old]
        return found if {ending.pod for ending in found if ending.in_hand is not None} == old else []

    shop.kubectl("wait", "--for=delete", f"--timeout={_ROLLOUT_LIMIT_S}s", *(f"pod/{pod}" for pod in old))
    told: list[Ending] = until(ended, 10)
    return told


def completed(shop: Release, order_ids: list[str], limit_s: float = 120.0) -> Outcome:
    """What became of orders, once all of them are completed or the time is over."""
    with suppress(AssertionError):  # what is open then is told by the outcome
        until(lambda: asyncio.run(shop.open_orders()) == 0, limit_s, 0.5)
    return asyncio.run(shop.outcome(order_ids))
