"""The `Fleet` on Kubernetes: WorkerPools say what is wanted, Deployments are scaled, status and Events tell.

The objects come from `Objects`; the API server is asked only for what a look changes. A pool that a person pinned, held
or paused is looked at like others, and not scaled. A look writes nothing: what is refused is one pool's trouble and not
the fleet's. A pool's past is the status that was told last, written or not; the one in the cluster is read once.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from httpx2 import HTTPError
from lightkube import ApiError

from app.core.config.pool import PoolSpec
from app.core.telemetry.troubles import Troubles
from app.operator.kube import HPA_MANAGER, Kube
from app.operator.objects import Objects
from app.operator.status import FAILED, Seen, news, pool_status
from app.operator.victims import choose
from app.operator.workerpool import POOL_LABEL, Body, Control, Mode, control, timestamp
from app.scaling.demand import Demand
from app.scaling.fleet import Pool
from app.scaling.policy import Decision, Reason

TRIAL_TIMEOUT_S = 2.0  # of one pool; it takes milliseconds
NOWHERE: Body = {"metadata": {"name": ""}, "spec": {"selector": {}, "replicas": 0}}
log = logging.getLogger("app.operator")


@dataclass
class KubernetesFleet:
    """Pools of one release in one namespace."""

    kube: Kube
    objects: Objects
    on_look: Callable[[], None]  # called as each look begins: a sign of life
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    _seen: dict[str, Seen] = field(init=False, default_factory=dict)
    _troubles: Troubles = field(init=False, default_factory=lambda: Troubles(log))
    _conflicts: dict[str, str | None] = field(init=False, default_factory=dict)  # by Deployment: its version then

    async def pools(self) -> Sequence[Pool]:
        """Every pool, with what is known of its Deployment."""
        self.on_look()
        await self.objects.refresh(self.kube)
        self._troubles.tell("pools and Deployments", self.objects.refused)
        bodies, found = dict(sorted(self.objects.pools.items())), defaultdict[str, list[Body]](list)
        for deployment in self.objects.deployments.values():
            found[deployment["metadata"]["labels"][POOL_LABEL]].append(deployment)
        new = [name for name, body in bodies.items() if not self._stands(name, body, found[name])]
        asked = (self._look(name, bodies[name], found[name]) for name in new)
        looks = zip(new, await asyncio.gather(*asked, return_exceptions=True), strict=True)
        seen = {n: look if isinstance(look, Seen) else self._unread(n, bodies[n], look) for n, look in looks}
        self._seen = {name: seen.get(name) or self._seen[name] for name in bodies}
        return [seen.pool for seen in self._seen.values()]

    async def scale(self, pool: Pool, replicas: int, spare: Sequence[str]) -> int:
        """Write the replicas. Idle pods go first; of a queue of long activities, they alone."""
        return await self._write(self._seen[pool.name], replicas, spare)

    async def report(self, pool: Pool, demand: Demand | None, decision: Decision) -> None:
        """A pin is brought about; status where it says something new; an Event for each change of replicas and mode."""
        seen, spare = self._seen[pool.name], [w.identity for w in demand.running if not w.used_slots] if demand else []
        mode, wanted, known = seen.control.mode, seen.control.replicas, seen.desired == seen.live
        try:
            if mode is Mode.PINNED and not (known and seen.live == wanted):
                await self._write(seen, wanted or 0, spare)
            if mode is Mode.AUTOMATIC and seen.written is None and not (known and seen.told.get("mode") == mode):
                # Adopt what is there (first look, end of a hold, our own write before a crash): from now on it is ours.
                await self._write(seen, seen.live, spare)
        finally:
            await self._tell(seen, pool_status(seen, demand, decision, self.clock()))

    async def _tell(self, seen: Seen, status: Body) -> None:
        events = list(news(seen, status))
        try:
            if seen.told != {**status, "observedTime": seen.told.get("observedTime")}:
                # Without a time until it is written: the next look tries again.
                seen.told, told = status, {**status, "observedTime": timestamp(self.clock())}
                await self.kube.write_status(seen.body["metadata"]["name"], told)
                seen.told = told
        finally:
            # One of the two that is refused does not silence the other.
            for reason, message, warning in events:
                await self.kube.emit(seen.body, reason, message, warning=warning)

    def _unread(self, name: str, body: Body, error: BaseException) -> Seen:
        """One object that an older CRD or a hand let through is its own trouble."""
        control = Control(Mode.PAUSED, None, f"spec or status cannot be read, nobody scales it: {error}")
        last = self._seen.get(name)
        return Seen(body, PoolSpec.read({"taskQueue": name}), NOWHERE, control, last.told if last else {})

    def _stands(self, name: str, body: Body, found: Sequence[Body]) -> bool:
        """Whether to look again would show the same."""
        if not (seen := self._seen.get(name)) or seen.said or seen.name in self.objects.autoscalers:
            return False
        return seen.control.mode is Mode.AUTOMATIC and seen.body is body and found == [seen.deployment]

    async def _look(self, name: str, body: Body, found: Sequence[Body]) -> Seen:
        nobody = Control(Mode.PAUSED, None, f"{len(found) or 'no'} Deployments have the label {POOL_LABEL}={name}")
        last, spec = self._seen.get(name), PoolSpec.read(body.get("spec"))
        seen = Seen(body, spec, found[0] if len(found) == 1 else NOWHERE, nobody)
        status, made = body.get("status") or {}, seen.deployment["metadata"].get("creationTimestamp")
        # Another object of the same name begins anew. A status that is older than the Deployment is about another one.
        told = status if made and str(status.get("observedTime", "")) > made else {}
        seen.told = last.told if last and last.uids == seen.uids else dict(told)
        if seen.deployment is NOWHERE:
            return seen
        live, ours, foreign = seen.live, seen.told.get("desiredReplicas"), None
        asked = not spec.paused and spec.replicas is None and seen.name not in self.objects.autoscalers
        if asked and ours not in (None, live):
            try:
                async with asyncio.timeout(TRIAL_TIMEOUT_S):
                    foreign = await self.kube.foreign_manager(seen.name, live)
                    if foreign == HPA_MANAGER:
                        # Its name stays on the field when the autoscaler itself is gone: then it is nobody's number.
                        self.objects.autoscalers, foreign = await self.kube.list_autoscalers(), None
            except (HTTPError, TimeoutError) as error:  # of this pool alone: an admission policy, say
                text = f"who set {live} replicas is not known: {str(error) or 'no answer'}"
                seen.control = Control(Mode.HELD, None, text, seen.told.get("heldSince"))
                return seen
        hpa = self.objects.autoscalers.get(seen.name)
        seen.control = control(name, spec, seen.told, live, self.clock(), foreign, hpa)
        return seen

    async def _write(self, seen: Seen, replicas: int, spare: Sequence[str]) -> int:
        """Only over the number that was looked at: what somebody set meanwhile is theirs, as the next look will see."""
        try:
            asked, replicas = replicas, await self._idle_first(seen, replicas, spare)
            if asked < replicas == seen.live:
                return replicas
            current = self.objects.deployments.get(seen.name, NOWHERE)
            if current["spec"].get("replicas") != seen.deployment["spec"].get("replicas"):
                raise RuntimeError(f"deployment {seen.name} was scaled by somebody since it was looked at")
            await self.kube.scale(seen.name, replicas, current["metadata"].get("resourceVersion"))
        except (HTTPError, RuntimeError) as error:
            version, known = seen.deployment["metadata"].get("resourceVersion"), self._conflicts.get(seen.name)
            if isinstance(error, ApiError) and error.response.status_code == 409 and version != known:
                # Something was written since the look: no news yet. If the watch fell silent, a list tells of it.
                self.objects.due_at, self._conflicts[seen.name] = 0.0, version
            else:
                seen.said = FAILED, str(error) or repr(error)
            raise
        seen.written = replicas
        if self.objects.deployments.get(seen.name) is current:
            # The watch has not told of it yet, and may only after the next look.
            self.objects.deployments[seen.name] = {**current, "spec": {**current["spec"], "replicas": replicas}}
        return replicas

    async def _idle_first(self, seen: Seen, replicas: int, spare: Sequence[str]) -> int:
        """Have the ReplicaSet take idle pods first; the replicas to write: more, where long activities would be cut."""
        strict = seen.spec.long_activities and seen.control.mode is Mode.AUTOMATIC
        if replicas >= seen.live or (replicas == 0 and not strict):
            return replicas
        try:
            costs, staying = choose(await self.kube.list_pods(seen.labels), spare, replicas)
            # Answered before the replicas are written: sent together, the ReplicaSet took others in 8 of 20 cases.
            await asyncio.gather(*(self.kube.set_cost(pod, cost) for pod, cost in costs.items()))
            if costs:
                self._troubles.tell("idle pods", "")
        except ApiError as error:
            if error.response.status_code != 403:
                raise
            staying = 0 if sum(name.startswith(f"{seen.name}-") for name in spare) >= seen.live else seen.live
            self._troubles.tell("idle pods", f"cannot go first, see operator.podDeletionCost in the chart: {error}")
        if strict and replicas < (least := min(staying, seen.live, seen.spec.max_replicas)):
            replicas, seen.said = least, (Reason.WORK_IN_HAND, f"{least} stay: fewer would take a pod with work")
        return replicas
