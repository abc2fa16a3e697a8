"""What must not happen to an operator is to live on without working: real API server, operator as a process here."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from lightkube import AsyncClient, KubeConfig

from app.operator.fleet import KubernetesFleet
from app.operator.kube import MANAGER, Kube
from app.operator.objects import RELIST_S, Objects
from app.operator.workerpool import INSTANCE_LABEL
from app.scaling.memory import Memory
from app.scaling.policy import decide
from tests.cluster.client import Cluster
from tests.cluster.tools import tool
from tests.local.dev_fleet import ROOT, until
from tests.operator.pool import CRD, RELEASE, apply_crd, create_pool

pytestmark = pytest.mark.cluster

NO_CRD = f"the cluster has no {CRD}: the CRD was deleted or never installed.\nkubectl apply"
# The CRD goes after the operator has found it, and before it watches.
LATE = f"""
import subprocess, sys
from app.operator import main, objects

def late(*args, watch=main.registry):
    subprocess.run([sys.argv[1], "delete", "crd", "{CRD}"], check=True)
    return watch(*args)

main.registry, objects.RELIST_S = late, 1.0
main.main()
"""
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def objects_there(cluster: Cluster, namespace: str) -> str:
    """A namespace with one pool and its Deployment."""
    apply_crd(cluster)
    create_pool(cluster, namespace)
    return namespace


def test_what_a_silent_watch_missed_is_put_right_by_a_list(cluster: Cluster, objects_there: str) -> None:
    async def look() -> None:
        objects = Objects()
        fleet = KubernetesFleet(_kube(cluster, objects_there), objects, lambda: None)
        (before,) = await fleet.pools()
        cluster.kubectl(
            "patch", "wp", "orders", "--type=merge", "-p", '{"spec":{"maxReplicas":3}}', namespace=objects_there
        )
        # No watch runs in this test: to the fleet it is one that fell silent.
        (meanwhile,) = await fleet.pools()
        assert meanwhile.policy.max_replicas == before.policy.max_replicas == 10
        objects.due_at = 0.0
        (after,) = await fleet.pools()
        assert after.policy.max_replicas == 3

    asyncio.run(look())


def test_a_look_that_finds_nothing_new_writes_nothing(cluster: Cluster, objects_there: str) -> None:
    def versions() -> list[str]:
        found = cluster.kubectl("get", "wp,deployment", "-o", "json", namespace=objects_there)
        return [item["metadata"]["resourceVersion"] for item in json.loads(found)["items"]]

    def rest() -> bool:
        before = versions()
        time.sleep(1)
        return versions() == before

    async def look() -> None:
        objects = Objects()
        hours = iter(range(1000))
        fleet = KubernetesFleet(
            _kube(cluster, objects_there), objects, lambda: None, lambda: NOW + timedelta(hours=next(hours))
        )
        seen = []
        # The Deployment was just made: its controller has yet to tell of it.
        until(rest, 60)
        for number in range(4):
            objects.due_at = 0.0
            for pool in await fleet.pools():
                decision = decide(pool.policy, None, Memory(), float(number), pool.replicas)
                await fleet.report(pool, None, decision)
            seen.append(versions())
        assert seen[1] == seen[2] == seen[3]

    asyncio.run(look())


def test_without_the_crd_the_operator_says_so_and_ends(cluster: Cluster, objects_there: str) -> None:
    if not cluster.ours:
        pytest.skip("SKIPPED: the CRD of a cluster of yours is not deleted")
    with _operator(cluster, objects_there) as running:
        assert running.stderr is not None
        assert any(f"scaling the pools of {RELEASE}" in line for line in running.stderr)
        # A pin that is seen shows that the watch runs: one that begins without the CRD would wait for it.
        cluster.kubectl(
            "patch", "wp", "orders", "--type=merge", "-p", '{"spec":{"replicas":2}}', namespace=objects_there
        )
        cluster.kubectl(
            "wait", "wp/orders", "--for=jsonpath={.status.mode}=Pinned", "--timeout=50s", namespace=objects_there
        )
        cluster.kubectl("delete", "crd", CRD)
        try:
            assert running.wait(RELIST_S + 40) != 0, "what it watched is gone"
            with _operator(cluster, objects_there) as started:
                _, said = started.communicate(timeout=60)
                assert started.returncode == 4, said
                assert NO_CRD in said
        finally:
            apply_crd(cluster)


def test_an_operator_whose_watch_began_without_the_crd_says_so_and_ends(cluster: Cluster, objects_there: str) -> None:
    if not cluster.ours:
        pytest.skip("SKIPPED: the CRD of a cluster of yours is not deleted")
    try:
        late = ("-c", LATE, str(tool("kubectl")))
        with _operator(cluster, objects_there, *late, FLEET_OPERATOR__POLL_S="1") as running:
            _, said = running.communicate(timeout=60)
            assert running.returncode == 4, said
            assert "pools cannot be listed" in said, "the first looks without it are not the end"
            assert NO_CRD in said
    finally:
        apply_crd(cluster)


@contextmanager
def _operator(cluster: Cluster, namespace: str, *python: str, **settings: str) -> Iterator[subprocess.Popen[str]]:
    """`python -m app.operator.main`, or other arguments of `python`, with the tests' own rights; killed at the end."""
    settings = {
        "FLEET_OPERATOR__NAMESPACE": namespace,
        "FLEET_OPERATOR__RELEASE": RELEASE,
        "FLEET_TEMPORAL__ADDRESS": "127.0.0.1:1",
        **settings,
    }
    process = subprocess.Popen(
        [sys.executable, *(python or ("-m", "app.operator.main"))],
        cwd=ROOT,
        env=cluster.environment() | settings,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _kube(cluster: Cluster, namespace: str) -> Kube:
    config = KubeConfig.from_file(cluster.kubeconfig).get()
    return Kube(AsyncClient(config=config, namespace=namespace, field_manager=MANAGER), {INSTANCE_LABEL: RELEASE})
