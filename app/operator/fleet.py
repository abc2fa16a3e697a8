"""The `Fleet` on Kubernetes: WorkerPools say what is wanted, Deployments are scaled, status and Events tell.

The objects come from `Objects`; this class asks nothing of the API server but what a look changes. A pool that a person
pinned, held or paused is looked at like any other, and not scaled. A look writes nothing: whatever is refused is then
one pool's trouble and not the fleet's.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from httpx2 import HTTPError
from lightkube.core.exceptions import ApiError

from app.operator.kube import HPA_MANAGER, Kube
from app.operator.objects import Body, Objects
from app.operator.ownership import Control, Mode, control, differs
from app.operator.status import FAILED, Seen, pool_status
from app.operator.workerpool import POOL_LABEL, WorkerPool, read_pool, read_status, timestamp
from app.scaling.demand import Demand
from app.scaling.fleet import Pool
from app.scaling.policy import Decision

WATCH_LAG_S = 5.0
"""So long after a write of ours, the number before it may be what the watch still has."""
TRIAL_TIMEOUT_S = 2.0  # of one pool; it takes milliseconds
NOWHERE: Body = {"metadata": {"name": ""}, "spec": {"selector": {}, "replicas": 0}}


@dataclass
class _Kept:
    """What this process knows of one WorkerPool and its Deployment; another object of the same name begins anew."""

    uids: tuple[str, str]
    desired: int | None = None
    written_at: float = float("-inf")
    mode: Mode | None = None
    shown: dict[str, Any] | None = None
    problem: str | None = None


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
        self._seen: dict[str, Seen] = {}
        self._kept: dict[str, _Kept] = {}

    async def pools(self) -> Sequence[Pool]:
        """Every pool, with what is known of its Deployment."""
        self._on_look()
        await self._objects.refresh(self._kube)
        looks = [self._look(read_pool(body), body) for _, body in sorted(self._objects.pools.items())]
        self._seen = {seen.pool.name: seen for seen in await asyncio.gather(*looks)}
        self._kept = {name: kept for name, kept in self._kept.items() if name in self._seen}
        return [seen.as_pool() for seen in self._seen.values()]

    async def scale(self, pool: Pool, replicas: int, spare: Sequence[str]) -> None:
        """Write the replicas. Which pods go is the ReplicaSet's choice: `spare` is not used yet."""
        await self._write(self._seen[pool.name], replicas)

    async def report(self, pool: Pool, demand: Demand | None, decision: Decision) -> None:
        """A pin is brought about; status where it says something new; an Event for each change of replicas and mode."""
        seen, kept, refused = self._seen[pool.name], self._kept[pool.name], None
        if seen.problem is None:
            try:
                await self._settle(seen, kept)
            except (HTTPError, RuntimeError) as error:
                refused = error
        await self._tell(seen, kept, pool_status(seen, kept.desired, demand, decision, self._clock()))
        if refused is not None:
            raise refused

    async def _settle(self, seen: Seen, kept: _Kept) -> None:
        """Bring about what is not the autoscaler's to decide."""
        automatic = seen.control.mode is Mode.AUTOMATIC
        if seen.control.mode is Mode.PINNED and not seen.live == kept.desired == seen.control.replicas:
            await self._write(seen, seen.control.replicas or 0)
        elif seen.control.mode is Mode.PAUSED and seen.control.replicas is not None:
            # Whoever scales meanwhile was asked to; from there it goes on.
            kept.desired = seen.live
        elif automatic and seen.written is None and (kept.desired != seen.live or kept.mode is not Mode.AUTOMATIC):
            # Adopt what is there (first look, end of a hold, our own write before a crash): from now on it is ours.
            await self._write(seen, seen.live)

    async def _tell(self, seen: Seen, kept: _Kept, status: dict[str, Any]) -> None:
        before, kept.mode = kept.mode, seen.control.mode
        told, kept.problem = kept.problem, seen.problem
        try:
            if status != kept.shown:
                await self._kube.write_status(seen.pool.name, {**status, "observedTime": timestamp(self._clock())})
                kept.shown = status
        finally:
            # One of the two that is refused does not silence the other.
            if seen.problem not in (None, told):
                await self._kube.emit(seen.pool, FAILED, seen.problem or "", warning=True)
            if before is Mode.HELD and seen.control.mode is Mode.AUTOMATIC:
                await self._kube.emit(seen.pool, "Released", f"{seen.live} replicas are no longer held")
            if seen.written not in (None, seen.live):
                change = f"{seen.live} -> {seen.written} replicas"
                await self._kube.emit(seen.pool, status["reason"], f"{change}: {status['message']}")
            elif seen.control.mode is Mode.HELD and before is not Mode.HELD:
                await self._kube.emit(seen.pool, "Held", seen.control.message, warning=True)

    async def _look(self, pool: WorkerPool, body: Body) -> Seen:
        found = self._objects.deployments_of(pool.name)
        deployment = found[0] if len(found) == 1 else NOWHERE
        kept, live = self._keep(pool, deployment), deployment["spec"].get("replicas", 1)
        if deployment is NOWHERE:
            text = f"{len(found) or 'no'} Deployments have the label {POOL_LABEL}={pool.name}"
            return Seen(pool, deployment, live, Control(Mode.PAUSED, None, text))
        name, remembered = deployment["metadata"]["name"], read_status(body, deployment)
        if kept.desired is not None:
            # The watch may not have brought back our own later write.
            remembered = replace(remembered, desired=kept.desired)
        asked = not pool.paused and pool.pin is None and name not in self._objects.autoscalers
        foreign = None
        if asked and differs(remembered, live):
            try:
                async with asyncio.timeout(TRIAL_TIMEOUT_S):
                    foreign = await self._foreign(name, live)
            except (HTTPError, TimeoutError) as error:
                # Of this pool alone: an admission policy, say.
                text = f"who set {live} replicas is not known: {str(error) or 'no answer'}"
                return Seen(pool, deployment, live, Control(Mode.HELD, None, text, remembered.held_since))
            if foreign is None and kept.desired is not None and time.monotonic() - kept.written_at < WATCH_LAG_S:
                live = kept.desired
        hpa = self._objects.autoscalers.get(name)
        return Seen(pool, deployment, live, control(pool, remembered, live, self._clock(), foreign=foreign, hpa=hpa))

    async def _foreign(self, deployment: str, live: int) -> str | None:
        manager = await self._kube.foreign_manager(deployment, live)
        if manager == HPA_MANAGER:
            # Its name stays on the field when the HorizontalPodAutoscaler itself is gone: then it is nobody's number.
            self._objects.autoscalers = await self._kube.list_autoscalers()
            return None
        return manager

    def _keep(self, pool: WorkerPool, deployment: Body) -> _Kept:
        uids = pool.uid, deployment["metadata"].get("uid", "")
        if pool.name not in self._kept or self._kept[pool.name].uids != uids:
            self._kept[pool.name] = _Kept(uids)
        return self._kept[pool.name]

    async def _write(self, seen: Seen, replicas: int) -> None:
        """Only over the number that was looked at: what somebody set meanwhile is theirs, as the next look will see."""
        name, kept = seen.deployment["metadata"]["name"], self._kept[seen.pool.name]
        current = self._objects.deployments.get(name, NOWHERE)
        if current["spec"].get("replicas") != seen.deployment["spec"].get("replicas"):
            seen.problem = f"deployment {name} was scaled by somebody since it was looked at"
            raise RuntimeError(seen.problem)
        before, kept.desired, kept.written_at = kept.desired, replicas, time.monotonic()
        try:
            await self._kube.scale(name, replicas, current["metadata"].get("resourceVersion"))
        except HTTPError as error:
            seen.problem = str(error) or repr(error)
            if isinstance(error, ApiError):
                # Refused, and not lost on the way, when it may have been done.
                kept.desired = before
                if error.response.status_code == 409:
                    # The watch should have told of that. If it fell silent, a list will.
                    self._objects.listed_at = 0.0
            raise
        seen.written = replicas
