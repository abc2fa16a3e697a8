"""The `Fleet` on Kubernetes: WorkerPools say what is wanted, Deployments are scaled, status and Events tell.

The objects come from `Objects`, which the watch keeps; this class asks nothing of the API server but what a look
changes. A pool that a person pinned, held or paused is shown like any other, with what the autoscaler would do, but is
not scaled by it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from app.operator.kube import HPA_MANAGER, Kube
from app.operator.ownership import Control, Mode, control, differs
from app.operator.status import pool_status
from app.operator.workerpool import POOL_LABEL, Remembered, WorkerPool, read_pool, read_status, timestamp
from app.scaling.demand import Demand
from app.scaling.fleet import Pool
from app.scaling.policy import Decision

Body = dict[str, Any]
RELIST_S = 60.0


@dataclass
class Objects:
    """WorkerPools and Deployments by name, as the watch last saw them."""

    pools: dict[str, Body] = field(default_factory=dict)
    deployments: dict[str, Body] = field(default_factory=dict)
    autoscalers: dict[str, str] = field(default_factory=dict)
    """Deployment -> HorizontalPodAutoscaler; not watched, seldom there."""
    listed_at: float = 0.0

    async def relist(self, kube: Kube) -> None:
        """Put right what the watch missed. Raises CrdMissing, ApiError."""
        self.pools = {body["metadata"]["name"]: dict(body) for body in await kube.list_pools()}
        self.deployments = {body["metadata"]["name"]: body for body in await kube.list_deployments()}
        self.autoscalers = await kube.list_autoscalers()
        self.listed_at = time.monotonic()

    def deployment_of(self, pool: str) -> Body | None:
        """The Deployment that a pool scales."""
        found = (d for d in self.deployments.values() if d["metadata"].get("labels", {}).get(POOL_LABEL) == pool)
        return next(found, None)


@dataclass
class _Seen:
    """One pool of one look."""

    pool: WorkerPool
    deployment: str
    live: int
    ready: int
    selector: str
    control: Control
    written: int | None = None

    def as_pool(self) -> Pool:
        automatic = self.control.mode is Mode.AUTOMATIC
        return Pool(self.pool.name, self.pool.policy, self.pool.task_types, self.live, self.ready, automatic)


class KubernetesFleet:
    """Pools of one release in one namespace."""

    def __init__(
        self,
        kube: Kube,
        objects: Objects,
        on_look: Callable[[], None],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`on_look` is called as each look begins: a sign of life."""
        self._kube = kube
        self._on_look = on_look
        self._objects = objects
        self._clock = clock
        self._seen: dict[str, _Seen] = {}
        self._desired: dict[str, int] = {}
        self._shown: dict[str, dict[str, Any]] = {}
        self._modes: dict[str, Mode] = {}

    async def pools(self) -> Sequence[Pool]:
        """Every pool that has a Deployment; a pin is brought about here."""
        self._on_look()
        if time.monotonic() - self._objects.listed_at > RELIST_S:
            await self._objects.relist(self._kube)
        seen: dict[str, _Seen] = {}
        for name, body in sorted(self._objects.pools.items()):
            deployment = self._objects.deployment_of(name)
            if deployment is not None:
                seen[name] = await self._look(read_pool(body), self._remembered(name, body), deployment)
        self._seen = seen
        return [s.as_pool() for s in seen.values()]

    async def scale(self, pool: Pool, replicas: int, spare: Sequence[str]) -> None:
        """Write the replicas. Which pods go is the ReplicaSet's choice: `spare` is not used yet."""
        await self._write(self._seen[pool.name], replicas)

    async def report(self, pool: Pool, demand: Demand | None, decision: Decision) -> None:
        """Status where it says something new, and an Event for each change of replicas."""
        seen = self._seen[pool.name]
        status = pool_status(
            control=seen.control,
            live=seen.live if seen.written is None else seen.written,
            ready=seen.ready,
            selector=seen.selector,
            desired=self._desired.get(pool.name),
            scaled_at=self._clock() if seen.written is not None else None,
            demand=demand,
            decision=decision,
        )
        mode, self._modes[pool.name] = self._modes.get(pool.name), seen.control.mode
        try:
            if status != self._shown.get(pool.name):
                await self._kube.write_status(pool.name, {**status, "observedTime": timestamp(self._clock())})
                self._shown[pool.name] = status
        finally:
            # One of the two that is refused does not silence the other.
            if seen.written is not None and seen.written != seen.live:
                change = f"{seen.live} -> {seen.written} replicas"
                await self._kube.emit(seen.pool, status["reason"], f"{change}: {status['message']}")
            elif seen.control.mode is Mode.HELD and mode is not Mode.HELD:
                await self._kube.emit(seen.pool, "Held", seen.control.message, warning=True)

    def _remembered(self, name: str, body: Body) -> Remembered:
        """The status, or our own later write that the watch has not brought back yet."""
        remembered = read_status(body)
        own = self._desired.get(name)
        if own is None:
            return remembered
        return Remembered(own, remembered.held_since, remembered.pinned_since)

    async def _look(self, pool: WorkerPool, remembered: Remembered, deployment: Body) -> _Seen:
        name, spec = deployment["metadata"]["name"], deployment["spec"]
        live = spec.get("replicas", 1)
        foreign = await self._kube.foreign_manager(name, live) if differs(remembered, live) else None
        own = self._desired.get(pool.name)
        if own is not None and foreign is None:
            # Ours and yet another number: the watch has not brought our own write back yet.
            live = own
        if foreign == HPA_MANAGER:
            # Its name stays on the field when the HorizontalPodAutoscaler is gone: then nobody holds the number.
            self._objects.autoscalers, foreign = await self._kube.list_autoscalers(), None
        hpa = self._objects.autoscalers.get(name)
        verdict = control(pool, remembered, live, self._clock(), foreign=foreign, hpa=hpa)
        labels = spec["selector"].get("matchLabels", {})
        seen = _Seen(
            pool=pool,
            deployment=name,
            live=live,
            ready=deployment.get("status", {}).get("readyReplicas", 0),
            selector=",".join(f"{key}={value}" for key, value in sorted(labels.items())),
            control=verdict,
        )
        if verdict.mode is Mode.PINNED and verdict.replicas != live:
            await self._write(seen, verdict.replicas or 0)
        elif verdict.mode is Mode.AUTOMATIC and self._desired.get(pool.name) != live:
            # Adopt what is there (first look, end of a hold, our own write before a crash): from now on it is ours.
            await self._write(seen, live)
        return seen

    async def _write(self, seen: _Seen, replicas: int) -> None:
        await self._kube.scale(seen.deployment, replicas)
        self._desired[seen.pool.name] = seen.written = replicas
