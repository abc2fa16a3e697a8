"""Releases that change: image, configuration and queues under load, queues that go, images that do not fit, the end.

One release lives through all of it, in this order; another one through what Helm 3 does in its own way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

from tests.cluster import once
from tests.cluster.client import Cluster, CommandFailed
from tests.cluster.objects import objects
from tests.cluster.release import NAME, SETTLE_S, Release, TemporalServer, release
from tests.cluster.replicas import ReplicasWatch
from tests.image.build import IMAGE
from tests.image.derived import DERIVED, QUEUE
from tests.local.dev_fleet import until
from tests.orders.load import SteadyOrders
from tests.parts.postgres import PostgresServer

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3600)]

POOLS = ("orders", "payments")
WORKERS = "app.kubernetes.io/component=worker"
REPLICAS = 3
PER_S = 3.0
VALUES = {
    "workerDefaults__maxReplicas": str(REPLICAS),
    "queues__payments__slots": "2",  # so few that a burst asks for all replicas
    # What the operator has raised stays for the whole test.
    "workerDefaults__scaleDown__stabilizationWindowSeconds": "600",
}
CONFIG = "config__temporal__activities__start_to_close_timeout_s"
LIMIT_S = 25
CHANGED = {**VALUES, "image__tag": DERIVED.rpartition(":")[2], CONFIG: str(LIMIT_S)}


@pytest.fixture(scope="module")
def shop(
    image: Path,
    derived_image: Path,
    cluster: Cluster,
    temporal_for_pods: TemporalServer,
    postgres_for_pods: PostgresServer,
) -> Iterator[Release]:
    """The example's fleet. The cluster has the image of the next version too."""
    cluster.load_image(derived_image)
    with release(image, cluster, temporal_for_pods, postgres_for_pods) as made:
        made.install(**VALUES)
        yield made


@pytest.fixture(scope="module")
def manifest(shop: Release, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The arguments that give helm the manifest of the next version, as that image prints it itself."""
    command = ("fleet", "queues", "--manifest", f"--image-repository={IMAGE.split('/')[-1].split(':')[0]}")
    file = tmp_path_factory.mktemp("manifest") / "queues.yaml"
    file.write_text(once.output(shop.cluster, shop.namespace, DERIVED, *command))
    return f"--set-file=queuesManifest={file}"


def _images(shop: Release) -> set[str]:
    """Of all workers that are there, those that are leaving among them."""
    return {pod["spec"]["containers"][0]["image"].rpartition("/")[2] for pod in shop.pods(WORKERS)}


def _ready(shop: Release, pool: str) -> list[str]:
    """The pods of a pool that can take work, and are to stay."""
    pods = shop.pods(f"workerfleet.dev/pool={pool}")
    staying = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    return [
        pod["metadata"]["name"]
        for pod in staying
        if {"Ready": "True"}.items() <= {c["type"]: c["status"] for c in pod["status"].get("conditions", [])}.items()
    ]


def _endings(shop: Release, pool: str) -> list[dict[str, Any]]:
    """How containers of a pool's pods ended that are there still, by the pods' status."""
    pods = shop.pods(f"workerfleet.dev/pool={pool}")
    # A pod that no node has yet has no statuses.
    statuses = [status for pod in pods for status in pod["status"].get("containerStatuses", [])]
    states = [state for status in statuses for state in (status["state"], status["lastState"])]
    return [state["terminated"] for state in states if "terminated" in state]


async def _mail(shop: Release, workflow_id: str) -> tuple[str, float]:
    """The pod that sent one, and the limit that it had, in seconds: that is what the configuration says."""
    client = await Client.connect(shop.temporal.address)
    handle = await client.start_workflow("MailWorkflow", "a@example", id=workflow_id, task_queue=QUEUE, result_type=str)
    pod = await asyncio.wait_for(handle.result(), SETTLE_S)
    events = (await handle.fetch_history()).events
    limits = [e.activity_task_scheduled_event_attributes.start_to_close_timeout.ToSeconds() for e in events]
    return pod, max(limits)


def _left(shop: Release) -> set[str]:
    """All that is in the namespace of the release."""
    return objects(shop.cluster, shop.namespace)


def test_an_upgrade_under_load_resets_no_replicas_and_loses_no_order(
    shop: Release, manifest: str, capsys: pytest.CaptureFixture[str]
) -> None:
    until(shop.ready, 30)
    shop.kubectl("scale", "wp/orders", f"--replicas={REPLICAS}")
    burst = [f"burst-{number}" for number in range(30)]
    shop.place_all(burst)
    until(lambda: all(len(_ready(shop, pool)) == REPLICAS for pool in POOLS), 60, 0.5)
    with ReplicasWatch(shop.cluster, shop.namespace) as watch, SteadyOrders(shop.place, PER_S, "upgrade") as load:
        shop.upgrade(manifest, **CHANGED)
        until(lambda: _images(shop) == {DERIVED.rpartition("/")[2]}, SETTLE_S, 0.5)
    orders = burst + load.placed
    until(lambda: asyncio.run(shop.open_orders()) == 0, SETTLE_S, 1.0)
    found = asyncio.run(shop.outcome(orders))
    # A dispatch that an overloaded server loses is repeated after LIMIT_S: late, but neither lost nor twice.
    said = f"{len(load.placed)} orders at {load.rate:.1f}/s meanwhile, begun late: {found.retried or 'none'}"
    with capsys.disabled():
        print(f"\n{said}")
    assert {pool: watch.seen[f"{NAME}-{pool}"] for pool in POOLS} == {pool: [REPLICAS] for pool in POOLS}
    assert (found.not_completed, found.repeated, load.refused) == ([], [], [])
    assert (found.scheduled, found.bodies) == (3 * len(orders), 3 * len(orders))
    until(lambda: [shop.pool(pool)["mode"] for pool in POOLS] == ["Pinned", "Automatic"], 30, 0.5)


def test_a_queue_that_was_added_in_python_is_served_with_the_changed_configuration(shop: Release) -> None:
    pod, limit_s = asyncio.run(_mail(shop, "added"))
    assert pod.startswith(f"{NAME}-{QUEUE}-")
    assert limit_s == LIMIT_S
    until(lambda: shop.pool(QUEUE).get("mode") == "Automatic", 30, 0.5)


def test_a_queue_is_not_left_out_before_it_was_retired(shop: Release) -> None:
    generations = ("get", "deployments", "-o", "jsonpath={.items[*].metadata.generation}")
    before = shop.kubectl(*generations)
    with pytest.raises(CommandFailed, match="queues.mails: the manifest leaves it out") as refused:
        shop.upgrade(**VALUES)
    assert "--set dropQueues={mails}" in str(refused.value)
    # Whoever knows that nothing is open may; only a run against the cluster can tell.
    shop.upgrade("--dry-run=server", **VALUES, dropQueues="{mails}")
    shop.upgrade("--dry-run=client", **VALUES)
    assert shop.kubectl(*generations) == before


def test_a_retired_queue_is_served_until_it_is_left_out(shop: Release, manifest: str) -> None:
    pods = _ready(shop, QUEUE)
    shop.upgrade(manifest, **CHANGED, queues__mails__retired="true")
    marked = shop.kubectl("get", "deployments,workerpools", "-l", "workerfleet.dev/retired=true", "-o", "name").split()
    assert marked == [f"deployment.apps/{NAME}-{QUEUE}", f"workerpool.workerfleet.dev/{QUEUE}"]
    # The pods are those that it had.
    assert asyncio.run(_mail(shop, "retired"))[0] in pods
    shop.upgrade(**VALUES)
    until(lambda: not [name for name in _left(shop) if QUEUE in name], SETTLE_S, 0.5)
    until(lambda: _images(shop) == {IMAGE.rpartition("/")[2]}, SETTLE_S, 0.5)
    assert [shop.replicas(pool) for pool in POOLS] == [REPLICAS, REPLICAS]


def test_an_image_that_the_manifest_is_not_of_starts_no_work_and_stops_none(shop: Release) -> None:
    old = {pool: set(_ready(shop, pool)) for pool in POOLS}
    with pytest.raises(CommandFailed):
        # The chart's own manifest, which does not know of the image's queue of mails.
        shop.upgrade("--timeout=12s", **{**VALUES, "image__tag": CHANGED["image__tag"]})
    for pool in POOLS:
        refusals = until(partial(_endings, shop, pool), 30)
        assert {refusal["exitCode"] for refusal in refusals} == {2}
        assert all("this image has the queues mails, orders, payments" in refusal["message"] for refusal in refusals)
        assert set(_ready(shop, pool)) == old[pool]
        assert len(old[pool]) == REPLICAS
    shop.place("meanwhile")
    until(lambda: shop.status("meanwhile") == "completed", SETTLE_S, 0.5)
    shop.cluster.helm("rollback", NAME, "--wait", "--timeout=90s", namespace=shop.namespace)
    until(lambda: _images(shop) == {IMAGE.rpartition("/")[2]}, SETTLE_S, 0.5)
    assert {pool: set(_ready(shop, pool)) for pool in POOLS} == old


def test_an_uninstall_without_the_operator_leaves_nothing_and_does_not_hang(shop: Release) -> None:
    shop.kubectl("scale", f"deployment/{NAME}-fleet-operator", "--replicas=0")
    until(lambda: not shop.pods("app.kubernetes.io/component=operator"), 60)
    shop.cluster.helm("uninstall", NAME, "--wait", "--timeout=60s", namespace=shop.namespace)
    until(lambda: not _left(shop), 60, 0.5)
    assert shop.kubectl("get", "crd/workerpools.workerfleet.dev", "-o", "name")


def test_a_release_of_helm_3_keeps_its_replicas_under_both_helms_and_leaves_nothing(
    image: Path, cluster: Cluster, manifest: str, temporal_for_pods: TemporalServer, postgres_for_pods: PostgresServer
) -> None:
    values = {**CHANGED, "queues__payments__minReplicas": "2", "api__enabled": "false"}
    with release(image, cluster, temporal_for_pods, postgres_for_pods) as shop:
        shop.install(manifest, helm="helm3", **{**values, CONFIG: str(LIMIT_S + 1)})
        shop.kubectl("scale", "wp/orders", "--replicas=2")
        until(lambda: [len(_ready(shop, pool)) for pool in POOLS] == [2, 2], 60, 0.5)
        with ReplicasWatch(cluster, shop.namespace) as watch:
            shop.upgrade(manifest, helm="helm3", **values)
            with pytest.raises(CommandFailed, match="queues.mails: the manifest leaves it out"):
                shop.upgrade(helm="helm3", **{**values, "image__tag": IMAGE.rpartition(":")[2]})
            cluster.helm3("rollback", NAME, "1", "--wait", "--timeout=90s", namespace=shop.namespace)
            shop.upgrade(manifest, **values)
        assert [watch.seen[f"{NAME}-{pool}"] for pool in POOLS] == [[2], [2]]
        # Of all four, the one that is tried nowhere else: Helm 3, with the operator alive.
        cluster.helm3("uninstall", NAME, "--wait", "--timeout=60s", namespace=shop.namespace)
        until(lambda: not _left(shop), 60, 0.5)
