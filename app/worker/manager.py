"""WorkerManager: one SDK worker per task queue in this process, from connecting to drained.

It returns an exit code and never exits by itself. Connecting is tried for ever (alive, not ready), because a restart
would not bring Temporal back; what retrying cannot help (no such namespace, not permitted) ends it at once.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import socket
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from temporalio.client import Client
from temporalio.common import WorkerDeploymentVersion
from temporalio.worker import Worker, WorkerDeploymentConfig

from app.core.config import Settings
from app.core.exit import ExitCode
from app.core.services.temporal.plugin import fleet_plugins
from app.core.services.temporal.temporal_client import TemporalClientService, TemporalUnavailable
from app.core.telemetry.runtime import worker_runtime
from app.worker.health import WorkerState
from app.worker.in_flight import InFlight
from app.worker.queues import task_queues
from app.worker.registry import Registry
from app.worker.sandbox import shared_modules

log = logging.getLogger("app.worker.manager")

BACKOFF_S = (0.5, 1.0, 2.0, 5.0, 10.0)
HEALTH_CHECK_S = 5.0


def identity(settings: Settings) -> str:
    """Name of this process in Temporal: configured, the pod's, or pid@host."""
    if name := settings.temporal.worker.identity or os.environ.get("POD_NAME", ""):
        return name
    host = socket.gethostname()
    return host if os.environ.get("KUBERNETES_SERVICE_HOST") else f"{os.getpid()}@{host}"


@dataclass(frozen=True)
class Pool:
    """The SDK worker of one task queue and the task that runs it."""

    queue: str
    worker: Worker
    run: asyncio.Task[None]


class WorkerManager:
    """Runs the workers of `queues` until asked to stop, then drains them."""

    def __init__(
        self,
        registry: Registry,
        settings: Settings,
        queues: Sequence[str],
        in_flight: InFlight,
        on_death: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_death` is called when a worker ends by itself and the others begin to drain."""
        self._on_death = on_death
        self._registry = registry
        self._settings = settings
        self._queues = queues
        self._in_flight = in_flight
        self._pools: list[Pool] = []
        runtime, sdk_metrics = worker_runtime(settings.temporal.worker.heartbeat_interval_s)
        self.state = WorkerState(tuple(queues), in_flight, sdk_metrics)
        plugins = fleet_plugins(shared_modules(registry, settings))
        self.service = TemporalClientService(
            settings.temporal,
            plugins=[*plugins, in_flight.plugin()],
            runtime=runtime,
            identity=identity(settings),
        )

    async def run(self, stop: asyncio.Event, *, connect_timeout_s: float | None = None) -> ExitCode:
        """Serve until `stop`; the code says how it ended. `connect_timeout_s`: give up connecting, None is never."""
        watching = [asyncio.create_task(self._beat()), asyncio.create_task(self._watch_temporal())]
        try:
            client = await self._connect(stop, connect_timeout_s)
            if stop.is_set():
                return ExitCode.DRAINED
            if client is None:
                return ExitCode.CANNOT_CONNECT
            self._pools = self._start_all(client)
            self.state.phase = "running"
            log.info("serving %s as %s", ", ".join(self._queues), client.identity)
            died = await self._until_stop_or_death(stop)
            self.state.phase = "draining"
            if died:
                self._on_death()
            await self._drain()
            if died:
                return ExitCode.POOL_DIED
            return ExitCode.HANDED_OVER if self._in_flight.outcome("handed_over") else ExitCode.DRAINED
        finally:
            for task in watching:
                task.cancel()

    async def _connect(self, stop: asyncio.Event, timeout_s: float | None) -> Client | None:
        self.state.phase = "connecting"
        begin = time.monotonic()
        attempt = 0
        while not stop.is_set():
            verifying = asyncio.create_task(self.service.verify())
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait({verifying, stopping}, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            if stop.is_set():
                verifying.cancel()
                return None
            try:
                client = verifying.result()
            except TemporalUnavailable as failure:
                self.state.problem = str(failure)
                waited = time.monotonic() - begin
                if failure.permanent or (timeout_s is not None and waited >= timeout_s):
                    log.error("%s Giving up after %.0f s.", failure, waited)
                    return None
                pause = BACKOFF_S[min(attempt, len(BACKOFF_S) - 1)] * random.uniform(0.8, 1.2)
                log.warning("%s Next try in %.1f s.", failure, pause)
                attempt += 1
                if timeout_s is not None:
                    pause = min(pause, max(0.0, timeout_s - waited))
                await _first(stop.wait(), asyncio.sleep(pause))
            else:
                self.state.temporal_answered_at = time.monotonic()
                self.state.problem = ""
                return client
        return None

    def _start_all(self, client: Client) -> list[Pool]:
        workers = {queue: self._worker(client, queue) for queue in self._queues}
        return [
            Pool(queue, worker, asyncio.create_task(worker.run(), name=f"worker-{queue}"))
            for queue, worker in workers.items()
        ]

    def _worker(self, client: Client, queue: str) -> Worker:
        view = task_queues(self._registry, self._settings)[queue]
        settings = view.worker
        return Worker(
            client,
            task_queue=queue,
            workflows=[handler.target for handler in view.workflows],
            activities=[handler.target for handler in view.activities],
            activity_executor=ThreadPoolExecutor(view.threads, f"activity-{queue}") if view.threads else None,
            max_concurrent_activities=settings.max_concurrent_activities,
            max_concurrent_workflow_tasks=settings.max_concurrent_workflow_tasks,
            max_concurrent_local_activities=settings.max_concurrent_local_activities,
            max_concurrent_workflow_task_polls=settings.max_concurrent_workflow_task_polls,
            max_concurrent_activity_task_polls=settings.max_concurrent_activity_task_polls,
            max_activities_per_second=settings.activities_per_second,
            max_task_queue_activities_per_second=settings.queue_activities_per_second,
            sticky_queue_schedule_to_start_timeout=timedelta(
                milliseconds=settings.sticky_queue_schedule_to_start_timeout_ms
            ),
            max_cached_workflows=settings.workflow_cache_size,
            graceful_shutdown_timeout=timedelta(seconds=settings.drain_timeout_s),
            deployment_config=WorkerDeploymentConfig(
                version=WorkerDeploymentVersion(settings.deployment_name, settings.build_id),
                use_worker_versioning=False,
            ),
        )

    async def _until_stop_or_death(self, stop: asyncio.Event) -> bool:
        """Whether a worker ended by itself before `stop`."""
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait([stopping, *(pool.run for pool in self._pools)], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        dead = [pool for pool in self._pools if pool.run.done()]
        for pool in dead:
            log.error("the worker of %s stopped by itself: %s", pool.queue, pool.run.exception() or "no error given")
        return bool(dead)

    async def _drain(self) -> None:
        begin = time.monotonic()
        before = self._in_flight.outcome("completed")
        log.info("drain: polling stops; %d activities in hand", len(self._in_flight.running))
        alive = [pool for pool in self._pools if not pool.run.done()]
        await asyncio.gather(*(pool.worker.shutdown() for pool in alive), return_exceptions=True)
        await asyncio.gather(*(pool.run for pool in alive), return_exceptions=True)
        log.info(
            "drain: done in %.1f s; %d finished, %d handed over",
            time.monotonic() - begin,
            self._in_flight.outcome("completed") - before,
            self._in_flight.outcome("handed_over"),
        )

    async def _beat(self) -> None:
        """Shows the health threads that the loop turns; waits for nothing else."""
        while True:
            self.state.loop_turned_at = time.monotonic()
            await asyncio.sleep(0.5)

    async def _watch_temporal(self) -> None:
        """Shows the health threads that Temporal answers."""
        while True:
            if self.state.phase == "running":
                health = await self.service.health_check()
                if health.ok:
                    self.state.temporal_answered_at = time.monotonic()
                self.state.problem = health.error
            await asyncio.sleep(HEALTH_CHECK_S if self.state.phase == "running" else 0.5)


async def _first(*waits: Coroutine[Any, Any, Any]) -> None:
    tasks = [asyncio.create_task(wait) for wait in waits]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
