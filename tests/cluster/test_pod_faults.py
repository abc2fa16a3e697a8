"""Pods that end as they should not: killed, evicted, out of memory, with too short a grace, stuck. No work is lost.

All of it happens at once, under one load: each fault has a pod of its own, and is asked about in a test of its own.
What was done twice is counted by the bodies' append-only starts. A pod that is told to leave repeats nothing as long as
its grace lasts; one that is killed repeats what it had in hand, and nothing else.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

from tests.apps.mails.letters import START_TO_CLOSE_S, Letter
from tests.cluster.client import Cluster, CommandFailed
from tests.cluster.endings import Ending, Endings
from tests.cluster.release import NAME, SETTLE_S, Release, TemporalServer, release
from tests.image.derived import DERIVED, QUEUE, derived_manifest
from tests.local.dev_fleet import until
from tests.orders.load import SteadyOrders
from tests.parts.postgres import PostgresServer

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3600)]

PER_S = 4.0
SHORT_GRACE_S = 3
LETTERS = {
    # In hand until their faults are made, however slow the machine is.
    "short": Letter(seconds=60.0),
    "killed": Letter(seconds=60.0),
    "block": Letter(seconds=3.0, mishap="block"),
    # The last: its pod is soon free again.
    "memory": Letter(seconds=3.0, mishap="memory"),
}
VALUES = {
    "image__tag": DERIVED.rpartition(":")[2],
    "workerDefaults__minReplicas": "2",
    "workerDefaults__maxReplicas": "2",
    "workerDefaults__slots": "30",
    # One letter a pod, so that each mishap meets another one.
    "queues__mails__minReplicas": str(len(LETTERS)),
    "queues__mails__maxReplicas": str(len(LETTERS)),
    "queues__mails__slots": "1",
    "queues__mails__drainSeconds": "8",
    "queues__mails__resources__limits__memory": "400Mi",
}


@pytest.fixture(scope="module")
def shop(
    image: Path,
    derived_image: Path,
    cluster: Cluster,
    temporal_for_pods: TemporalServer,
    postgres_for_pods: PostgresServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Release]:
    """Two pods for each queue of orders, and one for each letter."""
    cluster.load_image(derived_image)
    manifest = tmp_path_factory.mktemp("manifest") / "queues.yaml"
    manifest.write_text(derived_manifest())
    with release(image, cluster, temporal_for_pods, postgres_for_pods) as made:
        made.install(f"--set-file=queuesManifest={manifest}", **VALUES)
        until(made.ready, SETTLE_S, 0.5)
        yield made


@dataclass(frozen=True)
class Seen:
    """What became of it all. Pods by the name of their fault."""

    pods: dict[str, str]
    in_hand: dict[str, int]
    """When the fault was made."""
    endings: dict[str, Ending]
    """Of the pods that were told to leave."""
    restarts: dict[str, dict[str, Any]]
    """How the containers ended that were started again in their pods."""
    told: bool
    """Whether the pod that was deleted by force had a SIGTERM before it was killed."""
    refused: str
    """The answer to a second eviction from a pool at the same time."""
    orders: list[str]
    bodies: dict[tuple[str, str], list[str]]
    """(workflow, activity) -> the pods that began it, in order."""
    letters: dict[str, str]
    """Letter -> the pod that wrote it."""

    def repeated_after(self, *faults: str) -> list[tuple[str, str]]:
        """What was begun once more after one of these pods had begun it."""
        pods = {self.pods[fault] for fault in faults}
        return [key for key, begun in self.bodies.items() if pods & set(begun[:-1])]


@pytest.fixture(scope="module")
def seen(shop: Release) -> Seen:
    """All faults at once, under load, and what was left when all work was done."""
    pods = {fault: _post(shop, fault) for fault in LETTERS}
    with Endings(shop.cluster, shop.namespace, "app.kubernetes.io/component=worker") as endings:
        endings.follow_logs()
        with SteadyOrders(shop.place, PER_S) as load:
            pods["forced"], _ = _busy(shop, "payments")
            pods["evicted"], beside = _busy(shop, "orders")
            in_hand = {fault: shop.in_flight(pods[fault]) for fault in ("killed", "forced", "short")}
            in_hand["evicted"] = until(lambda: shop.in_flight(pods["evicted"]), 30, 0.02)
            _evict(shop, pods["evicted"])
            with pytest.raises(CommandFailed) as refused:
                _evict(shop, beside)
            shop.kill(pods["killed"], "app.worker.main")
            shop.kubectl("delete", "pod", pods["forced"], "--grace-period=0", "--force", "--wait=false")
            shop.kubectl("delete", "pod", pods["short"], f"--grace-period={SHORT_GRACE_S}", "--wait=false")
            time.sleep(3)
        done = asyncio.run(_written(shop))
        orders = [f"order-{order_id}" for order_id in load.placed]
        until(lambda: not asyncio.run(shop.outcome(load.placed)).not_completed, 60, 1.0)
        restarts = until(lambda: _restarts(shop, {f: pods[f] for f in ("killed", "memory", "block")}), 90, 0.5)
        ended = until(lambda: _endings(endings, {f: pods[f] for f in ("evicted", "short")}), 60)
    told = endings.in_hand(pods["forced"]) is not None
    found = Seen(pods, in_hand, ended, restarts, told, str(refused.value), orders, _begun(shop), done)
    print(f"activities in hand: {in_hand}; ended: {ended}; deleted by force, told before: {told}")
    return found


def test_all_work_is_completed_whatever_becomes_of_its_pods(seen: Seen) -> None:
    done = {workflow for workflow, _ in seen.bodies}
    assert done == set(seen.orders) | {f"letter-{fault}" for fault in LETTERS}
    assert set(seen.letters) == set(LETTERS)


def test_nothing_is_done_twice_but_what_a_killed_pod_had_in_hand(seen: Seen) -> None:
    killed = ("killed", "forced", "short", "memory", "block")
    repeated = {fault: seen.repeated_after(fault) for fault in killed}
    print("begun twice:", {fault: len(keys) for fault, keys in repeated.items()})
    assert {key for keys in repeated.values() for key in keys} == {key for key, pods in seen.bodies.items() if pods[1:]}
    assert all(repeated[fault] == [(f"letter-{fault}", "write_letter")] for fault in LETTERS)


def test_a_killed_worker_is_started_again_in_its_pod(seen: Seen) -> None:
    assert seen.restarts["killed"]["exitCode"] == 137


def test_an_evicted_pod_drains_and_the_budget_protects_the_next(seen: Seen) -> None:
    assert seen.in_hand["evicted"] >= 1
    assert seen.repeated_after("evicted") == []
    assert seen.endings["evicted"].exit_code == 0
    assert "would violate the pod's disruption budget" in seen.refused


def test_a_worker_out_of_memory_is_killed_and_its_work_goes_on(seen: Seen) -> None:
    assert (seen.restarts["memory"]["reason"], seen.restarts["memory"]["exitCode"]) == ("OOMKilled", 137)
    assert len(seen.bodies["letter-memory", "write_letter"]) == 2


def test_a_grace_shorter_than_the_drain_ends_in_a_kill_and_heartbeats_bring_the_work_back(seen: Seen) -> None:
    ending = seen.endings["short"]
    assert (ending.exit_code, ending.grace_s) == (137, SHORT_GRACE_S)
    first, second = seen.bodies["letter-short", "write_letter"]
    assert first == seen.pods["short"] != second == seen.letters["short"]


def test_a_worker_whose_loop_is_blocked_is_started_again(seen: Seen) -> None:
    assert seen.restarts["block"]["exitCode"] in (3, 137)
    assert len(seen.bodies["letter-block", "write_letter"]) == 2


def _post(shop: Release, fault: str) -> str:
    """The pod that has begun the letter."""

    async def start() -> None:
        client = await Client.connect(shop.temporal.address)
        await client.start_workflow("LetterWorkflow", LETTERS[fault], id=f"letter-{fault}", task_queue=QUEUE)

    asyncio.run(start())
    begun: list[str] = until(lambda: _begun(shop).get((f"letter-{fault}", "write_letter")), 60, 0.2)
    return begun[0]


async def _written(shop: Release) -> dict[str, str]:
    client = await Client.connect(shop.temporal.address)
    letters = {fault: client.get_workflow_handle(f"letter-{fault}", result_type=str) for fault in LETTERS}
    return {fault: await asyncio.wait_for(letter.result(), START_TO_CLOSE_S / 3) for fault, letter in letters.items()}


def _begun(shop: Release) -> dict[tuple[str, str], list[str]]:
    begun: dict[tuple[str, str], list[str]] = {}
    for workflow, activity, worker, _ in sorted(shop.bodies(), key=lambda body: body[3]):
        begun.setdefault((workflow, activity), []).append(worker)
    return begun


def _busy(shop: Release, pool: str) -> list[str]:
    """The pods of a pool, once each of them has work in hand."""
    pods = [pod["metadata"]["name"] for pod in shop.pods(f"workerfleet.dev/pool={pool}")]
    until(lambda: all(shop.in_flight(pod) for pod in pods), 30)
    return pods


def _evict(shop: Release, pod: str) -> None:
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": shop.namespace}}
    path = f"/api/v1/namespaces/{shop.namespace}/pods/{pod}/eviction"
    shop.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))


def _restarts(shop: Release, pods: dict[str, str]) -> dict[str, dict[str, Any]] | None:
    """How the containers of pods ended before they were started again; None: not all of them were, yet."""
    by_name = {pod["metadata"]["name"]: pod for pod in shop.pods("app.kubernetes.io/component=worker")}
    last = {f: by_name[name]["status"]["containerStatuses"][0]["lastState"] for f, name in pods.items()}
    return {f: state["terminated"] for f, state in last.items()} if all(last.values()) else None


def _endings(endings: Endings, pods: dict[str, str]) -> dict[str, Ending] | None:
    by_name = {ending.pod: ending for ending in endings.of(NAME)}
    return {f: by_name[name] for f, name in pods.items()} if set(pods.values()) <= set(by_name) else None
