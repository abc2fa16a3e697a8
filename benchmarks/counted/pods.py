"""Pods that are only counted: for each that is ready a real SDK Worker runs in this process, until the pod leaves.

So hundreds of slots cost what the SDK costs and not a Python process each, and a pod is there in a second: what is
measured is the operator's decisions, on one machine. Each worker has a client of its own, with the pod's name as its
identity: workers of one client tell their slots under one name. A pod that leaves has its worker drain for `grace_s`;
what it then still has in hand is cut, as the kubelet would.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

from lightkube import AsyncClient, KubeConfig
from lightkube.operators import exists
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import Pod
from temporalio.client import Client
from temporalio.runtime import Runtime, TelemetryConfig
from temporalio.worker import Worker

from app.operator.workerpool import POOL_LABEL
from benchmarks.counted.place import Place
from benchmarks.counted.work import Book, Calls, waits
from benchmarks.pace import DEFAULT

SLOTS = 10
GRACE_S = 25.0
"""Of Kubernetes' default grace period of 30 s; that of facts about others, which this is compared with."""
CALLER = "caller"
"""Task queue of the workflows that call activities on other queues."""
_SAME_STEP_S = 2.0


@dataclass
class Counted:
    """A pod at work."""

    name: str
    pool: str
    leaving: asyncio.Event = field(default_factory=asyncio.Event)
    working: bool = False


@dataclass(frozen=True)
class Removed:
    """A pod at the moment of its deletion: its activities, and the pods of its pool that had none."""

    at: float
    name: str
    pool: str
    in_hand: int
    idle: tuple[str, ...]


class CountedPods:
    """From entering to leaving: a worker for each ready pod of the place's namespace, and what became of pods.

    `replicas`: what each Deployment was told to have, with the time of the change, by its pool's name.
    """

    def __init__(self, at: Place, *, workflows: Collection[str] = (), heartbeat_s: float = DEFAULT.heartbeat_s) -> None:
        """`workflows`: pools whose workers run workflows too. `heartbeat_s`: how often workers tell of themselves."""
        self.book = Book()
        self.replicas: defaultdict[str, list[tuple[float, int]]] = defaultdict(list)
        self.removed: list[Removed] = []
        self.workflows = set(workflows)
        self._place = at
        self._pods: dict[str, Counted] = {}
        self._runtime = Runtime(telemetry=TelemetryConfig(), worker_heartbeat_interval=timedelta(seconds=heartbeat_s))
        self._tasks: set[asyncio.Task[None]] = set()
        self._watches: list[asyncio.Task[None]] = []
        self._closed = asyncio.Event()

    async def __aenter__(self) -> Self:
        config = KubeConfig.from_file(str(self._place.cluster.kubeconfig))
        kube = AsyncClient(config, namespace=self._place.namespace, trust_env=False)
        self.client = await self._connect("caller")
        self._run(self._call_for_others())
        self._watches = [asyncio.create_task(watch) for watch in (self._watch_pods(kube), self._watch_replicas(kube))]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        for watch in self._watches:
            watch.cancel()
        self._closed.set()
        for pod in self._pods.values():
            pod.leaving.set()
        await asyncio.wait(self._tasks, timeout=GRACE_S + 10) if self._tasks else None

    def working(self, pool: str) -> int:
        """Pods of a pool that have a worker now."""
        return sum(pod.working for pod in self._pods.values() if pod.pool == pool)

    def busy(self, pool: str) -> int:
        """Those of them that have work in hand."""
        return sum(self.book.in_hand(pod.name) > 0 for pod in self._pods.values() if pod.pool == pool)

    def harmed(self, pool: str) -> list[Removed]:
        """Pods that were taken from their work while another of the pool had none, and stayed."""
        gone_at = {removed.name: removed.at for removed in self.removed}

        def stayed(name: str, at: float) -> bool:
            return gone_at.get(name, float("inf")) > at + _SAME_STEP_S

        mine = [removed for removed in self.removed if removed.pool == pool and removed.in_hand]
        return [removed for removed in mine if any(stayed(name, removed.at) for name in removed.idle)]

    async def until(self, true: Callable[[], bool], limit_s: float, what: str = "that") -> None:
        """Returns as soon as it is true. Raises TimeoutError; and what went wrong with a watch or a worker."""
        deadline = time.monotonic() + limit_s
        while not true():
            self.check()
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what}: not within {limit_s:g} s")
            await asyncio.sleep(0.05)

    def check(self) -> None:
        """Raises what went wrong with a watch or a worker."""
        for task in (*self._watches, *self._tasks):
            if task.done():
                task.result()

    async def _watch_pods(self, kube: AsyncClient) -> None:
        async for kind, pod in kube.watch(Pod, labels={POOL_LABEL: exists()}):
            assert pod.metadata
            name, labels = pod.metadata.name or "", pod.metadata.labels or {}
            if kind == "DELETED" or pod.metadata.deletionTimestamp:
                if left := self._pods.pop(name, None):
                    self._remove(left)
            elif name not in self._pods and _ready(pod):
                self._pods[name] = Counted(name, labels[POOL_LABEL] or "")
                self._run(self._work(self._pods[name]))

    async def _watch_replicas(self, kube: AsyncClient) -> None:
        async for _, deployment in kube.watch(Deployment, labels={POOL_LABEL: exists()}):
            assert deployment.metadata
            seen, now = self.replicas[deployment.metadata.name or ""], deployment.spec.replicas
            if now is not None and (not seen or seen[-1][1] != now):
                seen.append((time.monotonic(), now))

    def _remove(self, pod: Counted) -> None:
        others = [other for other in self._pods.values() if other.pool == pod.pool and other.working]
        idle = tuple(other.name for other in others if not self.book.in_hand(other.name))
        self.removed.append(Removed(time.monotonic(), pod.name, pod.pool, self.book.in_hand(pod.name), idle))
        pod.leaving.set()

    async def _work(self, pod: Counted) -> None:
        worker = Worker(
            await self._connect(pod.name),
            task_queue=pod.pool,
            activities=[waits(self.book, pod.name)],
            workflows=[Calls] if pod.pool in self.workflows else [],
            max_concurrent_activities=SLOTS,
            max_concurrent_workflow_tasks=SLOTS,
            graceful_shutdown_timeout=timedelta(seconds=GRACE_S),
        )
        async with worker:
            pod.working = True
            await pod.leaving.wait()
            pod.working = False

    async def _call_for_others(self) -> None:
        async with Worker(self.client, task_queue=CALLER, workflows=[Calls]):
            await self._closed.wait()

    async def _connect(self, identity: str) -> Client:
        return await Client.connect(self._place.temporal, identity=identity, runtime=self._runtime)

    def _run(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is None:
            self._tasks.discard(task)


def _ready(pod: Pod) -> bool:
    conditions = (pod.status and pod.status.conditions) or []
    return any(condition.type == "Ready" and condition.status == "True" for condition in conditions)
