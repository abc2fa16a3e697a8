"""The `Fleet` on Kubernetes: WorkerPools say what is wanted, Deployments are scaled, status and Events tell.

The objects come from `Objects`; this class asks nothing of the API server but what a look changes. A pool that a person
pinned, held or paused is looked at like any other, and not scaled. A look writes nothing: whatever is refused is then
one pool's trouble and not the fleet's. What is known of a pool's past is the status that was told last, written or not;
the one in the cluster is read once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from httpx2 import HTTPError
from lightkube import ApiError

from app.operator.kube import HPA_MANAGER, Body, Kube
from app.operator.objects import Objects
from app.operator.ownership import Control, Mode, control
from app.operator.status import Seen, news, pool_status
from app.operator.victims import choose
from app.operator.workerpool import POOL_LABEL, read_pool, read_status, timestamp
from app.scaling.demand import Demand
from app.scaling.fleet import Pool
from app.scaling.policy import Decision

TRIAL_TIMEOUT_S = 2.0  # of one pool; it takes milliseconds
NOWHERE: Body = {"metadata": {"name": ""}, "spec": {"selector": {}, "replicas": 0}}
log = logging.getLogger("app.operator")


@dataclass
class KubernetesFleet:
    """Pools of one release in one namespace."""

    kube: Kube
    objects: Objects
    on_look: Callable[[], None]
    """Called as each look begins: a sign of life."""
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    _seen: dict[str, Seen] = field(init=False, default_factory=dict)
    _forbidden: bool = field(init=False, default=False)

    async def pools(self) -> Sequence[Pool]:
        """Every pool, with what is known of its Deployment."""
        self.on_look()
        await self.objects.refresh(self.kube)
        looks = [self._look(body) for _, body in sorted(self.objects.pools.items())]
        self._seen = {seen.pool.name: seen for seen in await asyncio.gather(*looks)}
        return [seen.as_pool() for seen in self._seen.values()]

    async def scale(self, pool: Pool, replicas: int, spare: Sequence[str]) -> None:
        """Write the replicas. Idle pods go first; of a queue of long activities, they alone."""
        await self._write(self._seen[pool.name], replicas, spare)

    async def report(self, pool: Pool, demand: Demand | None, decision: Decision) -> None:
        """A pin is brought about; status where it says something new; an Event for each change of replicas and mode."""
        seen, spare = self._seen[pool.name], [w.identity for w in demand.running if not w.used_slots] if demand else []
        mode, wanted = seen.control.mode, seen.control.replicas
        try:
            if mode is Mode.PINNED and not seen.live == seen.desired == wanted:
                await self._write(seen, wanted or 0, spare)
            known = seen.desired == seen.live and seen.told.get("mode") == mode
            if mode is Mode.AUTOMATIC and seen.written is None and not known:
                # Adopt what is there (first look, end of a hold, our own write before a crash): from now on it is ours.
                await self._write(seen, seen.live, spare)
        finally:
            await self._tell(seen, pool_status(seen, demand, decision, self.clock()))

    async def _tell(self, seen: Seen, status: Body) -> None:
        events = list(news(seen, status))
        try:
            if seen.told != {**status, "observedTime": seen.told.get("observedTime")}:
                # Without a time until it is written: the next look tries again.
                seen.told = status
                status = {**status, "observedTime": timestamp(self.clock())}
                await self.kube.write_status(seen.pool.name, status)
                seen.told = status
        finally:
            # One of the two that is refused does not silence the other.
            for reason, message, warning in events:
                await self.kube.emit(seen.pool, reason, message, warning=warning)

    async def _look(self, body: Body) -> Seen:
        pool = read_pool(body)
        found = [d for d in self.objects.deployments.values() if d["metadata"]["labels"][POOL_LABEL] == pool.name]
        last, seen = self._seen.get(pool.name), Seen(pool, found[0] if len(found) == 1 else NOWHERE)
        # Another object of the same name begins anew.
        seen.told = last.told if last and last.uids == seen.uids else read_status(body, seen.deployment)
        seen.control = await self._control(seen, len(found))
        return seen

    async def _control(self, seen: Seen, deployments: int) -> Control:
        pool, live, ours, foreign = seen.pool, seen.live, seen.told.get("desiredReplicas"), None
        if seen.deployment is NOWHERE:
            text = f"{deployments or 'no'} Deployments have the label {POOL_LABEL}={pool.name}"
            return Control(Mode.PAUSED, None, text)
        hpa = self.objects.autoscalers.get(seen.name)
        if ours not in (None, live) and not (pool.paused or hpa or pool.pin is not None):
            try:
                async with asyncio.timeout(TRIAL_TIMEOUT_S):
                    foreign = await self.kube.foreign_manager(seen.name, live)
                    if foreign == HPA_MANAGER:
                        # Its name stays on the field when the autoscaler itself is gone: then it is nobody's number.
                        self.objects.autoscalers, foreign = await self.kube.list_autoscalers(), None
                        hpa = self.objects.autoscalers.get(seen.name)
            except (HTTPError, TimeoutError) as error:
                # Of this pool alone: an admission policy, say.
                text = f"who set {live} replicas is not known: {str(error) or 'no answer'}"
                return Control(Mode.HELD, None, text, seen.told.get("heldSince"))
        return control(pool, seen.told, live, self.clock(), foreign=foreign, hpa=hpa)

    async def _write(self, seen: Seen, replicas: int, spare: Sequence[str]) -> None:
        """Only over the number that was looked at: what somebody set meanwhile is theirs, as the next look will see."""
        try:
            replicas = await self._idle_first(seen, replicas, spare)
            current = self.objects.deployments.get(seen.name, NOWHERE)
            if current["spec"].get("replicas") != seen.deployment["spec"].get("replicas"):
                raise RuntimeError(f"deployment {seen.name} was scaled by somebody since it was looked at")
            await self.kube.scale(seen.name, replicas, current["metadata"].get("resourceVersion"))
        except (HTTPError, RuntimeError) as error:
            seen.problem = str(error) or repr(error)
            if isinstance(error, ApiError) and error.response.status_code == 409:
                # The watch should have told of that. If it fell silent, a list will.
                self.objects.listed_at = 0.0
            raise
        seen.written = replicas
        # The watch may tell of it only after the next look.
        self.objects.deployments[seen.name] = {**current, "spec": {**current["spec"], "replicas": replicas}}

    async def _idle_first(self, seen: Seen, replicas: int, spare: Sequence[str]) -> int:
        """Have the ReplicaSet take idle pods first; the replicas to write: more, where long activities would be cut."""
        policy, live = seen.pool.policy, seen.live
        strict = policy.long_activities and seen.control.mode is Mode.AUTOMATIC
        if replicas >= live or (replicas == 0 and not strict):
            return replicas
        try:
            costs, staying = choose(await self.kube.list_pods(seen.labels), spare, replicas)
            # Answered before the replicas are written: sent together, the ReplicaSet took others in 8 of 20 cases.
            await asyncio.gather(*(self.kube.set_cost(pod, cost) for pod, cost in costs.items()))
        except ApiError as error:
            if error.response.status_code != 403:
                raise
            staying = 0 if len(spare) >= live else live
            if not self._forbidden:
                log.warning("idle pods cannot go first, see operator.podDeletionCost in the chart: %s", error)
            self._forbidden = True
        least = min(staying, live, policy.max_replicas)
        if strict and replicas < least:
            seen.kept, replicas = f"{least} stay: the others with work, or unknown, would go with them", least
        return replicas
