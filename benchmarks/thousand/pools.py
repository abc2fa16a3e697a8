"""A thousand WorkerPools with their Deployments, and workers for those that are awake.

`python -m benchmarks.thousand.pools ADDRESS` is a process of workers: one for each task queue that it is told on its
standard input. Its heartbeats are a worker's, so that the operator sees pools as they are in life.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.runtime import Runtime, TelemetryConfig
from temporalio.worker import Worker

from app.operator.workerpool import INSTANCE_LABEL, POOL_LABEL
from tests.cluster.client import Cluster
from tests.operator.pool import DEPLOYMENT, POOL, RELEASE

AWAKE = [f"awake-{number}" for number in range(50)]
ASLEEP = [f"asleep-{number}" for number in range(750)]
ACTIVITIES = [f"activities-{number}" for number in range(200)]
"""Asleep as well, and without workflows."""
LONGEST = timedelta(minutes=30)


@workflow.defn(sandboxed=False)
class Once:
    """Ends at once; or when an activity on `task_queue` has."""

    @workflow.run
    async def run(self, task_queue: str) -> None:
        if task_queue:
            await workflow.execute_activity(nothing, task_queue=task_queue, start_to_close_timeout=LONGEST)


@activity.defn
async def nothing() -> None:
    """Ends at once."""


def create(cluster: Cluster, namespace: str) -> None:
    """All objects."""
    names = [*((name, 1) for name in AWAKE), *((name, 0) for name in ASLEEP + ACTIVITIES)]
    items = [body for name, replicas in names for body in _objects(name, replicas)]
    for start in range(0, len(items), 500):
        listed = {"apiVersion": "v1", "kind": "List", "items": items[start : start + 500]}
        cluster.kubectl("create", "-f", "-", namespace=namespace, stdin=json.dumps(listed), limit_s=600)


def _objects(name: str, replicas: int) -> list[dict[str, Any]]:
    labels = {INSTANCE_LABEL: RELEASE, POOL_LABEL: name}
    types = ["activity"] if name in ACTIVITIES else ["workflow", "activity"]
    shape: dict[str, Any] = dict(DEPLOYMENT)
    template = {**shape["spec"]["template"], "metadata": {"labels": labels}}
    pool = {"taskQueue": name, "minReplicas": replicas, "taskTypes": types}
    deployment = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    return [
        {**POOL, "metadata": {"name": name, "labels": labels}, "spec": pool},
        {**shape, "metadata": {"name": f"{RELEASE}-{name}", "labels": labels}, "spec": deployment},
    ]


class Workers:
    """The process of workers."""

    def __init__(self, address: str) -> None:
        command = [sys.executable, "-m", "benchmarks.thousand.pools", address]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, text=True)

    def serve(self, *queues: str) -> None:
        """Have a worker on each of these, from soon on."""
        assert self._process.stdin is not None
        self._process.stdin.writelines(f"{queue}\n" for queue in queues)
        self._process.stdin.flush()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


async def _work(address: str) -> None:
    runtime = Runtime(telemetry=TelemetryConfig(), worker_heartbeat_interval=timedelta(seconds=5))
    client = await Client.connect(address, runtime=runtime)
    async with AsyncExitStack() as stack:
        while queue := (await asyncio.to_thread(sys.stdin.readline)).strip():
            worker = Worker(
                client,
                task_queue=queue,
                workflows=[Once],
                activities=[nothing],
                max_concurrent_activities=10,
                max_concurrent_workflow_task_polls=2,
                max_concurrent_activity_task_polls=1,
            )
            await stack.enter_async_context(worker)


if __name__ == "__main__":
    asyncio.run(_work(sys.argv[1]))
