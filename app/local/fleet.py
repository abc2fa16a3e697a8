"""ProcessFleet: the `Fleet` of this machine, one process where a cluster has a pod.

It keeps each queue at the number of processes wanted, like a Deployment: a process that ends by itself is replaced (at
once after a clean end, with a growing pause after a crash), one that is told to go drains first and is not waited for.
A worker that refuses its configuration ends the whole fleet with that worker's own words, since starting it again
could not help; but not over its port, which is chosen anew.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from app.core.config import Settings
from app.core.config.resolve import scaling_settings, worker_settings
from app.core.config.worker import RELEASE_S
from app.core.exit import ExitCode
from app.core.policy import Policy
from app.core.ports import free_port
from app.local.children import Child, Children
from app.scaling.demand import Demand
from app.scaling.fleet import Pool
from app.scaling.policy import Decision
from app.worker.named_in_code import callers
from app.worker.registry import Registry

log = logging.getLogger("app.local.fleet")

HOST = "127.0.0.1"
WORKER_STAGE = 1
"""Workers stop after the API and before Temporal."""
CRASH_PAUSE_S = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
PORT_SETTING = "temporal.worker.health_port"
POLLS_S = 1.5
"""Of a drain for open polls, at most: here somebody waits for it with a hand on Ctrl-C."""
HEALTHY_AFTER_S = 60.0
"""A process that ran this long starts the pauses anew."""


class WorkerRefused(RuntimeError):
    """A worker says that it cannot run as it is configured; the text is its own."""


@dataclass(frozen=True)
class WorkerProcess:
    """One worker process; `identity` is its name in Temporal, `port` that of its probes and metrics."""

    identity: str
    port: int
    child: Child
    started_at: float

    @property
    def health(self) -> str:
        """host:port."""
        return f"{HOST}:{self.port}"


@dataclass
class LocalPool:
    """The processes of one task queue."""

    queue: str
    policy: Policy
    task_types: tuple[str, ...]
    wanted: int
    wake_with: tuple[str, ...] = ()
    workers: list[WorkerProcess] = field(default_factory=list)
    leaving: list[WorkerProcess] = field(default_factory=list)
    made: int = 0
    crashes: int = 0
    proven: bool = False
    """Temporal has heard from a process of this pool."""
    demand: Demand | None = None
    decision: Decision | None = None

    @property
    def ready(self) -> int:
        """Processes whose heartbeat Temporal has."""
        seen = {worker.identity for worker in self.demand.workers} if self.demand else set()
        return sum(worker.identity in seen for worker in self.workers)


class ProcessFleet:
    """Worker processes of all queues of the registry."""

    def __init__(
        self,
        children: Children,
        settings: Settings,
        registry: Registry,
        env: Mapping[str, str],
        say: Callable[[str], None],
    ) -> None:
        """`env`: variables that every worker gets; `say`: takes one line for the user."""
        self._children = children
        self._settings = settings
        self._env = env
        self._say = say
        self._data = Path(settings.local.data_dir)
        self._watches: set[asyncio.Task[None]] = set()
        self._stopping = False
        self.refused: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        calling = callers(registry)
        self.local_pools = {
            queue: LocalPool(
                queue,
                policy_of(settings, queue),
                tuple(sorted({handler.kind for handler in handlers}, reverse=True)),
                # A queue that may sleep starts asleep: the autoscaler wakes it when work comes.
                scaling_settings(settings, queue).min_replicas,
                calling[queue],
            )
            for queue, handlers in registry.queues().items()
        }

    async def start(self) -> None:
        """Start the processes that are wanted."""
        for pool in self.local_pools.values():
            await self._reach(pool)

    # The Fleet protocol.

    async def pools(self) -> Sequence[Pool]:
        return [
            Pool(pool.queue, pool.policy, pool.task_types, pool.wanted, pool.ready, wake_with=pool.wake_with)
            for pool in self.local_pools.values()
        ]

    async def scale(self, pool: Pool, replicas: int, spare: Sequence[str]) -> int:
        """Start processes, or let some go: those without work first, in the order of `spare`, then the youngest."""
        local = self.local_pools[pool.name]
        local.wanted = replicas
        await self._reach(local, spare)
        return replicas

    async def report(self, pool: Pool, demand: Demand | None, decision: Decision) -> None:
        local = self.local_pools[pool.name]
        if decision.replicas != pool.replicas:
            self._say(
                f"{pool.name}: {pool.replicas} -> {decision.replicas} processes, {decision.reason}: {decision.message}"
            )
        local.demand, local.decision = demand, decision
        local.proven = local.proven or local.ready > 0

    # Beneath it.

    async def stop(self) -> None:
        """SIGTERM to all workers; returns when they have drained."""
        self._stopping = True
        await self._children.stop_stage(WORKER_STAGE, worker_grace_s(self._settings))

    async def _reach(self, pool: LocalPool, spare: Sequence[str] = ()) -> None:
        """Bring the number of processes to the one that is wanted."""
        while len(pool.workers) < pool.wanted and not self._stopping:
            await self._start_one(pool)
        order = {identity: place for place, identity in enumerate(spare)}
        while len(pool.workers) > pool.wanted:
            victim = min(pool.workers, key=lambda w: (order.get(w.identity, len(order)), -w.started_at))
            pool.workers.remove(victim)
            pool.leaving.append(victim)
            victim.child.signal(signal.SIGTERM)
        self._write_state()

    async def _start_one(self, pool: LocalPool) -> None:
        pool.made += 1
        identity = f"{pool.queue}-{pool.made}"
        port = free_port(HOST)
        polls_s = min(POLLS_S, self._settings.temporal.worker.polls_timeout_s)
        env = {
            **os.environ,
            **self._env,
            "FLEET_TEMPORAL__WORKER__IDENTITY": identity,
            "FLEET_TEMPORAL__WORKER__HEALTH_HOST": HOST,
            "FLEET_TEMPORAL__WORKER__HEALTH_PORT": str(port),
            "FLEET_TEMPORAL__WORKER__POLLS_TIMEOUT_S": str(polls_s),
            "OTEL_SERVICE_NAME": f"worker-{pool.queue}",
        }
        child = await self._children.start(
            identity,
            [sys.executable, "-m", "app.worker.main", "serve", "--queue", pool.queue],
            stage=WORKER_STAGE,
            env=env,
            log=self._data / "logs" / f"{_file_name(identity)}.log",
        )
        worker = WorkerProcess(identity, port, child, time.monotonic())
        pool.workers.append(worker)
        watch = asyncio.create_task(self._watch(pool, worker), name=f"watch-{identity}")
        self._watches.add(watch)
        watch.add_done_callback(self._watches.discard)

    async def _watch(self, pool: LocalPool, worker: WorkerProcess) -> None:
        code = await worker.child.wait()
        if worker in pool.leaving:
            pool.leaving.remove(worker)
            log.info("%s has drained and left with %d", worker.identity, code)
            self._write_state()
            return
        pool.workers.remove(worker)
        if self._stopping:
            return
        # A pool that has run before is not refused: it met a passing trouble. So did a worker that cannot have the port
        # which was free when it was chosen here.
        refuses = code in (ExitCode.USAGE, ExitCode.CANNOT_CONNECT) and not pool.proven
        if refuses and PORT_SETTING not in _last_lines(worker.child.log):
            if not self.refused.done():
                self.refused.set_exception(WorkerRefused(_last_lines(worker.child.log)))
            return
        await asyncio.sleep(self._pause_s(pool, worker, code))
        await self._reach(pool)

    def _pause_s(self, pool: LocalPool, worker: WorkerProcess, code: int) -> float:
        if code == ExitCode.DRAINED:
            self._say(f"{pool.queue}: {worker.identity} was stopped from outside and has drained; replacing it")
            return 0.0
        pool.crashes = 0 if time.monotonic() - worker.started_at > HEALTHY_AFTER_S else pool.crashes + 1
        pause = CRASH_PAUSE_S[min(pool.crashes, len(CRASH_PAUSE_S) - 1)]
        self._say(
            f"{pool.queue}: {worker.identity} ended with {code} (see {worker.child.log}); replacing it in {pause:g} s"
        )
        return pause

    def _write_state(self) -> None:
        """`state.json` in the data folder: who runs, for scripts and tests."""
        state = {
            "supervisor": os.getpid(),
            "queues": {
                pool.queue: {
                    "wanted": pool.wanted,
                    "workers": [{"identity": w.identity, "pid": w.child.pid, "health": w.health} for w in pool.workers],
                }
                for pool in self.local_pools.values()
            },
        }
        new = self._data / "state.json.new"
        new.write_text(json.dumps(state, indent=1), encoding="utf-8")
        new.replace(self._data / "state.json")


def policy_of(settings: Settings, queue: str) -> Policy:
    """The scaling policy of one queue."""
    slots = worker_settings(settings, queue).max_concurrent_activities
    return Policy.of(scaling_settings(settings, queue), queue, slots)


def worker_grace_s(settings: Settings) -> float:
    """After SIGTERM: when a worker is gone at the latest, with some slack, in seconds."""
    worker = settings.temporal.worker
    drains = [worker.drain_timeout_s, *(worker_settings(settings, queue).drain_timeout_s for queue in settings.queues)]
    return max(drains) + worker.unwind_timeout_s + RELEASE_S + worker.flush_timeout_s + 3.0


def _file_name(identity: str) -> str:
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in identity)


def _last_lines(path: Path, count: int = 20) -> str:
    try:
        return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-count:])
    except OSError:
        return f"(no log at {path})"
