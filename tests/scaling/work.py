"""Work for the tests that look at a real Temporal: activities held until they are let go, and quick ones.

`python -m tests.scaling.work ADDRESS QUEUE` is a worker in a process of its own, which a test may kill.
"""

from __future__ import annotations

import asyncio
import functools
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.runtime import Runtime, TelemetryConfig
from temporalio.worker import Worker

from app.core.services.temporal.asking import Asking
from app.scaling.demand import Demand, Observer, TypeDemand

from .looks import pool_of

Seen = TypeVar("Seen")
HEARTBEAT_S = 1.0


@workflow.defn(sandboxed=False)
class Many:
    """Runs one activity `count` times at once."""

    @workflow.run
    async def run(self, name: str, count: int) -> None:
        limit = timedelta(minutes=2)
        await asyncio.gather(*(workflow.execute_activity(name, start_to_close_timeout=limit) for _ in range(count)))


@workflow.defn(sandboxed=False)
class Sleeps:
    """Has nothing to do until its timer fires."""

    @workflow.run
    async def run(self, seconds: float) -> None:
        await workflow.sleep(seconds)


@activity.defn
async def quick() -> None:
    await asyncio.sleep(0.05)


@dataclass
class Pod:
    """A worker with its activity `hold`, which stays in hand until `let_go` is set."""

    worker: Worker
    let_go: asyncio.Event


@functools.cache
def _runtime() -> Runtime:
    return Runtime(telemetry=TelemetryConfig(), worker_heartbeat_interval=timedelta(seconds=HEARTBEAT_S))


async def connect(address: str, identity: str = "observer") -> Client:
    """A client of its own: workers of one client tell their slots under the identity of the first of them."""
    return await Client.connect(address, identity=identity, runtime=_runtime())


@asynccontextmanager
async def pod(
    address: str, queue: str, identity: str = "pod-1", *, slots: int = 5, **options: Any
) -> AsyncIterator[Pod]:
    """A worker of both types with `slots` activity and 4 workflow slots; what it holds is let go at the end."""
    let_go = asyncio.Event()

    @activity.defn
    async def hold() -> None:
        await let_go.wait()

    worker = Worker(
        await connect(address, identity),
        task_queue=queue,
        workflows=[Many, Sleeps],
        activities=[hold, quick],
        max_concurrent_activities=slots,
        max_concurrent_workflow_tasks=4,
        graceful_shutdown_timeout=timedelta(seconds=20),
        **options,
    )
    async with worker:
        try:
            yield Pod(worker, let_go)
        finally:
            let_go.set()


async def start(client: Client, queue: str, name: str, count: int) -> None:
    """Start a workflow that runs the activity `name` `count` times at once."""
    await client.start_workflow(Many.run, args=[name, count], id=str(uuid.uuid4()), task_queue=queue)


async def sleep(client: Client, queue: str, seconds: float) -> None:
    """Start a workflow that sleeps."""
    await client.start_workflow(Sleeps.run, seconds, id=str(uuid.uuid4()), task_queue=queue)


def new_queue() -> str:
    """The tests share a server, not a queue."""
    return f"q-{uuid.uuid4().hex[:12]}"


def observer(timeout_s: float = 5, calls_per_s: float = 1000) -> Observer:
    """One that has seen nothing yet."""
    return Observer(Asking(calls_per_s, timeout_s), HEARTBEAT_S)


async def look(client: Client, queue: str, *, timeout_s: float = 5, by: Observer | None = None) -> Demand:
    """The demand of one queue, asked anew; or what the observer `by` makes of it."""
    return (await (by or observer(timeout_s)).look(client, [pool_of(queue)]))[queue]


def of(demand: Demand, kind: str) -> TypeDemand:
    """The part of one task type."""
    return next(t for t in demand.types if t.task_type == kind)


async def until(seen: Callable[[], Awaitable[Seen]], true: Callable[[Seen], bool], timeout_s: float = 20) -> Seen:
    """The first look of which `true` holds. Raises AssertionError with the last one."""
    deadline = time.monotonic() + timeout_s
    while not true(last := await seen()):
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s; last seen: {last}"
        await asyncio.sleep(0.2)
    return last


async def _serve(address: str, queue: str) -> None:
    async with pod(address, queue, "pod-doomed"):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(*sys.argv[1:]))
