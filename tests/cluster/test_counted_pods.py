"""Counted pods, the harness of benchmarks/burst.py and its like: a worker for each pod, and what a deletion met."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from benchmarks.counted.place import Place
from benchmarks.counted.pods import CountedPods
from benchmarks.counted.work import alone
from tests.cluster.client import Cluster

pytestmark = pytest.mark.cluster
LIMIT_S = 60.0


def test_a_pod_has_a_worker_until_it_leaves_and_its_deletion_is_seen(
    cluster: Cluster, namespace: str, temporal_address: str, tmp_path: Path
) -> None:
    at = Place(cluster, namespace, temporal_address, tmp_path)
    asyncio.run(_shrink_beside_an_idle_pod(at, f"{namespace}-pods"))


async def _shrink_beside_an_idle_pod(at: Place, pool: str) -> None:
    at.create("shop", pool, 2, None)
    async with CountedPods(at) as pods:
        await pods.until(lambda: pods.working(pool) == 2, LIMIT_S, "two workers")
        work = asyncio.ensure_future(alone(pods.client, pool, 8.0))
        await pods.until(lambda: pods.busy(pool) == 1, LIMIT_S, "a busy pod")
        (busy,) = {body.pod for body in pods.book.of(pool)}
        # As a scale-down without pod-deletion-cost may do.
        await asyncio.to_thread(at.cluster.kubectl, "delete", f"pod/{busy}", "--wait=false", namespace=at.namespace)
        await work
        await pods.until(lambda: pods.working(pool) == 2, LIMIT_S, "a pod in its place")
        assert [removed.name for removed in pods.harmed(pool)] == [busy]
        assert len(pods.book.of(pool)) == len(pods.book.ends(pool)) == 1, "drained, not cut"
        await asyncio.to_thread(
            at.cluster.kubectl, "scale", f"deployment/{pool}", "--replicas=0", namespace=at.namespace
        )
        await pods.until(lambda: not pods.working(pool), LIMIT_S, "no worker")
        assert [now for _, now in pods.replicas[pool]] == [2, 0]
        assert len(pods.harmed(pool)) == 1
