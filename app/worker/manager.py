"""WorkerManager: one SDK worker per task queue in this process, from connecting to drained.

It returns an exit code and never exits by itself. Connecting is `connect.py`, a worker and its restarts `supervise.py`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

from temporalio.client import Client
from temporalio.service import RetryConfig

from app.core.config import Settings
from app.core.config.resolve import worker_settings
from app.core.config.worker import RELEASE_S
from app.core.exit import ExitCode
from app.core.services.temporal.plugin import fleet_plugins
from app.core.services.temporal.temporal_client import TemporalClientService, TemporalUnavailable
from app.core.telemetry.runtime import worker_runtime
from app.worker import eager_starts, outrun, versions
from app.worker.build import build
from app.worker.connect import NamespaceMissing, connect
from app.worker.health import BEAT_S, WorkerState
from app.worker.in_flight import InFlight
from app.worker.poll_watch import PollWatch
from app.worker.queues import task_queues
from app.worker.registry import Registry
from app.worker.sandbox import shared_modules
from app.worker.supervise import Pool

log = logging.getLogger("app.worker.manager")

HEALTH_CHECK_S = 5.0
HELD_S = 600.0
"""How long the result of finished work is told again while Temporal is away; the SDK's own way drops it after 10 s."""


def identity(settings: Settings) -> str:
    """Name of this process in Temporal: configured, the pod's, or pid@host."""
    if name := settings.temporal.worker.identity or os.environ.get("POD_NAME", ""):
        return name
    host = socket.gethostname()
    return host if os.environ.get("KUBERNETES_SERVICE_HOST") else f"{os.getpid()}@{host}"


def retry_of(settings: Settings, queues: Sequence[str]) -> RetryConfig:
    """How the worker's client repeats its calls: for longer than any drain lasts, and soon after an outage has ended.

    A result that is dropped is work done twice. When it is told too late, Temporal refuses it, which ends the retries.
    """
    worker = settings.temporal.worker
    drain_s = max((worker_settings(settings, queue).drain_timeout_s for queue in queues), default=0.0)
    held_s = max(HELD_S, drain_s + worker.unwind_timeout_s + RELEASE_S + worker.flush_timeout_s)
    return RetryConfig(max_interval_millis=2000, max_elapsed_time_millis=round(held_s * 1000), max_retries=0)


class WorkerManager:
    """Runs the workers of `queues` until asked to stop, then drains them."""

    def __init__(
        self,
        registry: Registry,
        settings: Settings,
        queues: Sequence[str],
        in_flight: InFlight,
        on_death: Callable[[ExitCode], None] = lambda _: None,
    ) -> None:
        """`on_death` is called with the code to leave with when a pool is given up and the others begin to drain."""
        self._on_death = on_death
        self._registry = registry
        self._settings = settings
        self._queues = tuple(dict.fromkeys(queues))
        self._in_flight = in_flight
        self.pools: list[Pool] = []
        runtime, sdk_metrics = worker_runtime(settings.temporal.worker.heartbeat_interval_s)
        self.state = WorkerState(self._queues, in_flight, sdk_metrics)
        plugins = fleet_plugins(shared_modules(registry, settings))
        self.service = TemporalClientService(
            settings.temporal,
            plugins=[
                *plugins,
                in_flight.plugin(),
                outrun.plugin(task_queues(registry, settings).values()),
                eager_starts.plugin(),
            ],
            runtime=runtime,
            identity=identity(settings),
            retry=retry_of(settings, self._queues),
        )

    async def run(self, stop: asyncio.Event, *, connect_timeout_s: float | None = None) -> ExitCode:
        """Serve until `stop`; the code says how it ended. `connect_timeout_s`: give up connecting, None is never."""
        self.state.phase = "connecting"
        watching = [_watch("the loop", self._beat())]
        try:
            try:
                client = await connect(self.service, self.state, stop, connect_timeout_s)
            except TemporalUnavailable:
                return ExitCode.CANNOT_CONNECT
            if client is None:
                return ExitCode.DRAINED
            self.pools = self._build_all(client)
            runs = [asyncio.create_task(pool.run(), name=f"pool-{pool.queue}") for pool in self.pools]
            self.state.phase = "running"
            log.info("serving %s as %s", ", ".join(self._queues), client.identity)
            watching.append(_watch("Temporal", self._watch_temporal(client)))
            watching.append(_watch("polls", PollWatch(self.service, self.pools, self.state).run()))
            watching.append(_watch("versions", versions.watch(self.service, self._settings.temporal, self.state)))
            died = await _stop_or_death(stop, runs)
            self.state.phase = "draining"
            if died:
                self._on_death(died)
            return await self._drain(runs, died)
        finally:
            for task in watching:
                task.cancel()

    def _build_all(self, client: Client) -> list[Pool]:
        pools = []
        for queue in self._queues:
            make = partial(build, self._registry, self._settings, queue)
            connected = partial(connect, self.service, self.state)
            pools.append(Pool(queue, client, make, connected, worker_settings(self._settings, queue), self.state))
        return pools

    async def _drain(self, runs: Sequence[asyncio.Task[ExitCode | None]], died: ExitCode | None) -> ExitCode:
        self._in_flight.begin_drain()
        longest_s = max((pool.quiesce_s for pool in self.pools), default=0.0)
        in_hand = len(self._in_flight.in_hand())
        log.info("drain: polling stops; %d activities in hand; open polls have up to %g s", in_hand, longest_s)
        refused = died is ExitCode.CANNOT_CONNECT
        await asyncio.gather(*(pool.drain(refused=refused) for pool in self.pools))
        await asyncio.gather(*runs, return_exceptions=True)
        report = self._in_flight.drained(died)
        log.info("drain: done in %s", report)
        return report.code

    async def _beat(self) -> None:
        """Shows the health threads that the loop turns; waits for nothing else."""
        while True:
            self.state.loop_turned_at = time.monotonic()
            await asyncio.sleep(BEAT_S)

    async def _watch_temporal(self, client: Client) -> None:
        """Shows the health threads that Temporal answers, and gives the workers a new client when there is one."""
        missing = NamespaceMissing(self.service.address)
        while True:
            health = await self.service.health_check()
            if health.ok:
                self.state.temporal_answered_at = time.monotonic()
            self.state.problem = health.error
            if gone := missing.after(health):
                for pool in self.pools:
                    pool.fail(gone)
            client = await self._rotate(client)
            await asyncio.sleep(HEALTH_CHECK_S)

    async def _rotate(self, client: Client) -> Client:
        """The service makes a new client after a certificate or key file changed: the pools poll with that one."""
        try:
            new = await self.service.get_client()
        except TemporalUnavailable:
            return client
        for pool in self.pools:  # also when it is not new: a worker may have begun with the one before
            pool.use(new)
        if new is not client:
            log.info("the connection to Temporal was made anew; the workers of %s use it", ", ".join(self._queues))
        return new


def _watch(what: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """`work` beside the pools. They go on when it fails, which is a mistake of ours, and is said."""

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()):
            log.error("watching %s failed and is off until the next start: %r", what, error)

    task = asyncio.create_task(work, name=f"watch {what}")
    task.add_done_callback(ended)
    return task


async def _stop_or_death(stop: asyncio.Event, runs: Sequence[asyncio.Task[ExitCode | None]]) -> ExitCode | None:
    """None after `stop`; else the code of the pools that were given up."""
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([stopping, *runs], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    codes = [code for run in runs if run.done() and (code := run.result())]
    return min(codes, default=None)
