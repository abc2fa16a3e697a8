"""The fleet under load: it grows, it shrinks, it is replaced process by process, and no order is lost or done twice."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from temporalio.client import Client

from tests.local.dev_fleet import DevFleet, until
from tests.orders.book import outcome
from tests.orders.load import SteadyOrders, place_surely

Make = Callable[..., DevFleet]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

FOUR_AT_MOST = {"SCALING__MAX_REPLICAS": "4", "SCALING__STABILIZATION_WINDOW_S": "6", "SCALING__MAX_PERCENT": "100"}
RISES_WITHIN_S = 15.0
"""A few seconds, and as much again and more for a machine that runs other tests beside it."""
REPLACEMENTS = 10
ORDERS_PER_S = 4.0


def test_200_orders_at_once_are_met_with_more_processes_and_each_completes_once(dev_fleet: Make) -> None:
    with dev_fleet("--no-order", settings=FOUR_AT_MOST) as fleet:
        fleet.ready()
        ids = [f"burst-{number}" for number in range(200)]
        begin = time.monotonic()
        with ThreadPoolExecutor(16) as threads:
            placing = [threads.submit(place_surely, fleet.call, order_id) for order_id in ids]
            rises: dict[str, float] = {}
            while len(rises) < 2 and time.monotonic() - begin < 30:
                for queue in ("orders", "payments"):
                    if queue not in rises and len(fleet.workers(queue)) > 1:
                        rises[queue] = time.monotonic() - begin
                time.sleep(0.05)
            for placed in placing:
                placed.result()
        print(f"200 orders placed; processes rose after {rises} s")
        assert rises
        assert min(rises.values()) <= RISES_WITHIN_S
        workflow_ids = [f"order-{order_id}" for order_id in ids]
        until(lambda: _open(fleet) == 0, 180, 0.5)
        print(f"all done after {time.monotonic() - begin:.1f} s")
        until(lambda: all(fleet.state()["queues"][q]["wanted"] == 1 for q in ("orders", "payments")), 90, 0.5)
        seen = asyncio.run(outcome(fleet.temporal, fleet.ledger, workflow_ids))
        assert seen.not_completed == []
        assert seen.completed == 200
        # On a busy machine a task may be handed to a poll whose answer never comes: it runs once, later.
        print(f"handed over in vain and started elsewhere later: {seen.retried or 'none'}")
        assert seen.repeated == []
        assert len(seen.retried) <= seen.scheduled / 50
        assert all(line.endswith("StartToClose timeout") for line in seen.retried), seen.retried
        assert seen.bodies == seen.scheduled == 600
        changes = [line for line in fleet.lines if re.match(r"(orders|payments): \d+ -> \d+ processes, ", line)]
        ups = [line for line in changes if _from_to(line)[0] < _from_to(line)[1]]
        downs = [line for line in changes if _from_to(line)[0] > _from_to(line)[1]]
        assert ups
        assert downs
        assert all(re.search(r"processes, [A-Z]\w+: \S.+", line) for line in changes), "each with its reason in words"
        assert max(_from_to(line)[1] for line in changes) <= 4
        print("\n".join(changes))
        assert fleet.stop() == 0


def test_processes_are_replaced_under_load_and_nothing_is_lost_or_repeated(dev_fleet: Make) -> None:
    one_each = {"SCALING__MAX_REPLICAS": "1", "TEMPORAL__WORKER__MAX_CONCURRENT_ACTIVITIES": "30"}
    with dev_fleet("--no-order", settings=one_each) as fleet:
        fleet.ready()
        with SteadyOrders(fleet.place, ORDERS_PER_S) as load:
            in_hand = [_replace_busy(fleet, queue) for _ in range(REPLACEMENTS) for queue in ("payments", "orders")]
        placed = load.placed
        print(f"{len(in_hand)} replacements with {in_hand} activities in hand; {len(placed)} orders, {load.rate:.1f}/s")
        # The API answers 503 where Temporal takes seconds, as it may on a machine that is busy otherwise.
        assert len(load.refused) <= len(placed) / 50, load.refused
        assert len(in_hand) == 2 * REPLACEMENTS
        assert min(in_hand) >= 1
        until(lambda: _open(fleet) == 0, 120, 0.5)
        seen = asyncio.run(outcome(fleet.temporal, fleet.ledger, [f"order-{order_id}" for order_id in placed]))
        assert seen.not_completed == []
        # What was handed to a poll that was just given up runs once, as attempt 2, after the start-to-close timeout.
        print(f"handed to a leaving worker and started elsewhere later: {seen.retried or 'none'}")
        assert seen.repeated == []
        assert seen.bodies == seen.scheduled == 3 * len(placed)
        drained = [line for line in fleet.lines if "was stopped from outside and has drained" in line]
        assert len(drained) == 2 * REPLACEMENTS, "every exit was 0"
        assert not [line for line in fleet.lines if "ended with" in line]
        assert fleet.stop() == 0


def test_a_queue_whose_slots_are_busy_keeps_its_processes_without_any_backlog(dev_fleet: Make) -> None:
    settings = {
        "TEMPORAL__WORKER__PACKAGES": '["tests.apps.slow"]',
        "TEMPORAL__WORKER__MAX_CONCURRENT_ACTIVITIES": "2",
        "TEMPORAL__ACTIVITIES__START_TO_CLOSE_TIMEOUT_S": "300",
        "SCALING__MIN_REPLICAS": "0",
        "SCALING__MAX_REPLICAS": "2",
        "SCALING__IDLE_S": "5",
        "SCALING__STABILIZATION_WINDOW_S": "5",
        "SCALING__MAX_PERCENT": "100",
    }
    with dev_fleet("--no-order", settings=settings) as fleet:
        fleet.ready()
        asyncio.run(_start_rests(fleet.temporal, 4, 60.0))
        until(lambda: _used_slots(fleet, "slow") == 4, 60, 0.2)
        pids = {w["pid"] for w in fleet.workers("slow")}
        assert len(pids) == 2
        busy_until = time.monotonic() + 30
        while time.monotonic() < busy_until:
            assert {w["pid"] for w in fleet.workers("slow")} == pids, "six times the window without a change"
            assert _used_slots(fleet, "slow") == 4
            time.sleep(0.5)
        results = asyncio.run(_results(fleet.temporal, 4))
        assert results == [("rested", 1)] * 4, "result and attempt of each"
        # And what is idle afterwards may go.
        until(lambda: not fleet.workers("slow"), 60, 0.5)


def _replace_busy(fleet: DevFleet, queue: str) -> int:
    """SIGTERM a worker while it has work in hand and wait for the next one; how much it had."""
    (worker,) = until(lambda: _ready(fleet.workers(queue)), 60)
    in_hand = until(lambda: _in_flight(worker["health"]), 30, 0.01)
    os.kill(worker["pid"], signal.SIGTERM)
    until(lambda: fleet.workers(queue) and fleet.workers(queue)[0]["pid"] != worker["pid"], 60)
    return int(in_hand)


def _ready(workers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return workers if workers and _probe(workers[0]["health"], "/readyz")["ok"] else []


def _in_flight(address: str) -> int:
    return int(_probe(address, "/livez")["in_flight"])


def _probe(address: str, path: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://{address}{path}", timeout=5) as answer:
        body: dict[str, Any] = json.load(answer)
        return body


def _used_slots(fleet: DevFleet, queue: str) -> int:
    return sum(_in_flight(worker["health"]) for worker in fleet.workers(queue))


def _open(fleet: DevFleet) -> int:
    async def ask() -> int:
        client = await Client.connect(fleet.temporal)
        return (await client.count_workflows("ExecutionStatus = 'Running'")).count

    return asyncio.run(ask())


def _from_to(line: str) -> tuple[int, int]:
    match = re.search(r": (\d+) -> (\d+) ", line)
    assert match
    return int(match[1]), int(match[2])


async def _start_rests(address: str, number: int, seconds: float) -> None:
    client = await Client.connect(address)
    for index in range(number):
        await client.start_workflow("RestWorkflow", seconds, id=f"rest-{index}", task_queue="slow")


async def _results(address: str, number: int) -> list[tuple[str, int]]:
    client = await Client.connect(address)
    results = []
    for index in range(number):
        handle = client.get_workflow_handle(f"rest-{index}", result_type=str)
        result = await handle.result()
        attempts = [
            event.activity_task_started_event_attributes.attempt
            for event in (await handle.fetch_history()).events
            if event.HasField("activity_task_started_event_attributes")
        ]
        results.append((result, max(attempts)))
    return results
