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
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from temporalio.client import Client
from temporalio.common import WorkerDeploymentVersion
from temporalio.worker import Worker, WorkerDeploymentConfig

from app.core.config import Settings
from app.core.config.resolve import worker_settings
from app.core.exit import ExitCode
from app.core.services.temporal.plugin import fleet_plugins
from app.core.services.temporal.temporal_client import TemporalClientService, TemporalUnavailable
from app.core.telemetry.runtime import worker_runtime
from app.worker.health import WorkerState
from app.worker.in_flight import InFlight
from app.worker.registry import ACTIVITY, WORKFLOW, Registry

log = logging.getLogger("app.worker.manager")

BACKOFF_S = (0.5, 1.0, 2.0, 5.0, 10.0)
HEALTH_CHECK_S = 5.0
OWN_MODULES = ("app.worker.registry", "app.worker.sdk_definitions", "app.worker.options", "app.worker.routing")


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

    def __init__(self, registry: Registry, settings: Settings, queues: Sequence[str], in_flight: InFlight) -> None:
        self._registry = registry
        self._settings = settings
        self._queues = queues
        self._in_flight = in_flight
        self._pools: list[Pool] = []
        runtime, sdk_metrics = worker_runtime(settings.temporal.worker.heartbeat_interval_s)
        self.state = WorkerState(tuple(queues), in_flight, sdk_metrics)
        shared = registry.shareable_modules(settings.temporal.worker.packages)
        plugins = fleet_plugins(
            (*OWN_MODULES, "app.worker.workflows.base", *shared, *settings.temporal.worker.passthrough_modules)
        )
        self.service = TemporalClientService(
            settings.temporal,
            plugins=[*plugins, in_flight.plugin()],
            runtime=runtime,
            identity=identity(settings),
        )

    async def run(self, stop: asyncio.Event, *, connect_timeout_s: float | None = None) -> ExitCode:
        """Serve until `stop`; the code says how it ended. `connect_timeout_s`: give up connecting, None is never."""
        beat = asyncio.create_task(self._beat())
        try:
            client = await self._connect(stop, connect_timeout_s)
            if client is None:
                return ExitCode.DRAINED if stop.is_set() else ExitCode.CANNOT_CONNECT
            self._pools = [self._start(client, queue) for queue in self._queues]
            self.state.phase = "running"
            log.info("serving %s as %s", ", ".join(self._queues), client.identity)
            died = await self._until_stop_or_death(stop)
            self.state.phase = "draining"
            await self._drain()
            if died:
                return ExitCode.POOL_DIED
            return ExitCode.HANDED_OVER if self._in_flight.outcome("handed_over") else ExitCode.DRAINED
        finally:
            beat.cancel()

    async def _connect(self, stop: asyncio.Event, timeout_s: float | None) -> Client | None:
        self.state.phase = "connecting"
        begin = time.monotonic()
        attempt = 0
        while not stop.is_set():
            try:
                client = await self.service.verify()
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

    def _start(self, client: Client, queue: str) -> Pool:
        settings = worker_settings(self._settings, queue)
        handlers = self._registry.queues()[queue]
        activities = [handler for handler in handlers if handler.kind == ACTIVITY]
        threads = settings.max_concurrent_activities if any(not handler.is_async for handler in activities) else 0
        worker = Worker(
            client,
            task_queue=queue,
            workflows=[handler.target for handler in handlers if handler.kind == WORKFLOW],
            activities=[handler.target for handler in activities],
            activity_executor=ThreadPoolExecutor(threads, f"activity-{queue}") if threads else None,
            max_concurrent_activities=settings.max_concurrent_activities,
            max_concurrent_workflow_tasks=settings.max_concurrent_workflow_tasks,
            max_cached_workflows=settings.workflow_cache_size,
            graceful_shutdown_timeout=timedelta(seconds=settings.drain_timeout_s),
            deployment_config=WorkerDeploymentConfig(
                version=WorkerDeploymentVersion(settings.deployment_name, settings.build_id),
                use_worker_versioning=False,
            ),
        )
        return Pool(queue, worker, asyncio.create_task(worker.run(), name=f"worker-{queue}"))

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
        """Shows the health threads that the loop turns and that Temporal answers."""
        next_check = 0.0
        while True:
            self.state.loop_turned_at = now = time.monotonic()
            if self.state.phase == "running" and now >= next_check:
                health = await self.service.health_check()
                next_check = time.monotonic() + HEALTH_CHECK_S
                if health.ok:
                    self.state.temporal_answered_at = time.monotonic()
                self.state.problem = health.error
            await asyncio.sleep(0.5)


async def _first(*waits: Coroutine[Any, Any, Any]) -> None:
    tasks = [asyncio.create_task(wait) for wait in waits]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
