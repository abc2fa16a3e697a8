"""Rolling restarts of real pods under load: no order lost, nothing done twice, every pod drained within its grace."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.client import Cluster
from tests.cluster.endings import Ending, Endings
from tests.cluster.machine import busy
from tests.cluster.release import NAME, Release
from tests.cluster.rolling import ACTIVITIES, POOLS, completed, one_pod_a_queue, restart
from tests.orders.load import SteadyOrders
from tests.parts.postgres import PostgresServer

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(1200)]

ORDERS_PER_S = 4.0
ROLLOUTS = 3
TRIES = 6


@pytest.fixture(params=[False, True], ids=["poll-cancel off", "poll-cancel on"])
def rolling(
    request: pytest.FixtureRequest, image: Path, cluster: Cluster, postgres_for_pods: PostgresServer
) -> Iterator[tuple[Release, Endings]]:
    """With the server's flag off, its default, and on."""
    with one_pod_a_queue(image, cluster, postgres_for_pods, poll_cancel=request.param) as made:
        yield made


def test_rolling_restarts_under_load_lose_and_repeat_nothing(
    rolling: tuple[Release, Endings], request: pytest.FixtureRequest
) -> None:
    shop, endings = rolling
    counted: list[list[Ending]] = []
    idle: list[list[Ending]] = []
    with SteadyOrders(shop.place, ORDERS_PER_S, request.node.callspec.id.replace(" ", "-")) as load, busy() as cpu:
        while len(counted) < ROLLOUTS and len(counted) + len(idle) < TRIES:
            ended = restart(shop, endings)
            # A restart that met an idle pod shows nothing: it is said, and made again.
            (counted if all(ending.in_hand for ending in ended) else idle).append(ended)
    every = [ending for ended in (*counted, *idle) for ending in ended]
    print(f"{len(load.placed)} orders, {load.rate:.1f}/s, CPU {cpu.percent:.0f} % of {cpu.cores} cores")
    print(f"activities in hand at SIGTERM: {[[e.in_hand for e in ended] for ended in counted]}; idle: {len(idle)}")
    print(f"seconds from deletion to exit: {sorted(e.watched_s for e in every)} of {every[0].grace_s:g}")
    assert (len(counted), len(every)) == (ROLLOUTS, len(POOLS) * (len(counted) + len(idle)))
    assert load.refused == []
    assert load.rate >= 0.9 * ORDERS_PER_S
    assert [ending for ending in every if not ending.clean] == []
    seen = completed(shop, load.placed)
    assert seen.not_completed == []
    assert seen.completed == len(load.placed)
    # A poll that does not come home is cut, and may take a task with it (docs/drain.md): seen once. Two are a fault.
    cut = {ending.pod: ending.polls_cut for ending in endings.of(NAME) if ending.polls_cut}
    print(f"polls cut: {cut}; tasks that went with them: {seen.orphaned}")
    assert len(seen.orphaned) <= min(1, len(cut)), seen.orphaned
    assert seen.repeated == []
    assert seen.bodies == seen.scheduled == ACTIVITIES * len(load.placed)
