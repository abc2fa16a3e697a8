"""The few calls that the operator makes to the API server, each with the least right that it needs.

Replicas are written by server-side apply on /scale as a field manager of our own: that alone tells `kubectl scale` from
a write of ours that a crash kept out of the status. Never by merge patch: an equal value erases the ownership.
"""

from __future__ import annotations

import re
from asyncio import Semaphore
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from httpx2 import HTTPStatusError
from lightkube import ApiError, AsyncClient
from lightkube.generic_resource import create_namespaced_resource
from lightkube.operators import exists, not_in
from lightkube.types import PatchType

from app.operator.victims import COST, TEMPLATE_LABEL
from app.operator.workerpool import GROUP, KIND, PLURAL, POOL_LABEL, VERSION, Body, slim, timestamp
from app.scaling.fleet import FleetGone

MANAGER = "workerfleet-operator"
HPA_MANAGER = "kube-controller-manager"  # field manager of what a HorizontalPodAutoscaler writes
PAGE = 250  # objects in one answer to a list: what a large one takes, a process does not give back
WorkerPools = create_namespaced_resource(GROUP, VERSION, KIND, PLURAL)
Deployments = create_namespaced_resource("apps", "v1", "Deployment", "deployments")
Autoscalers = create_namespaced_resource("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers")
Pods = create_namespaced_resource("", "v1", "Pod", "pods")
Events = create_namespaced_resource("", "v1", "Event", "events")


class CrdMissing(FleetGone):
    """The cluster does not know WorkerPools. kopf ends when they go under its watch; one begun later waits for ever."""


@dataclass(frozen=True)
class Kube:
    """Calls in the client's namespace, as its field manager. They raise ApiError, and httpx2's on a broken line."""

    client: AsyncClient
    selector: dict[str, Any]  # labels of the objects that this operator may touch
    lanes: Semaphore = field(default_factory=lambda: Semaphore(50))  # of statuses: all of a large fleet change at once

    async def list_pools(self) -> list[Body]:
        """All WorkerPools of this release. Raises CrdMissing."""
        try:
            return [slim(pool) async for pool in self.client.list(WorkerPools, labels=self.selector, chunk_size=PAGE)]
        # Not an ApiError: for a group that it does not know, the API server answers in plain text.
        except HTTPStatusError as error:
            if error.response.status_code != 404:
                raise
            what = f"the cluster has no {PLURAL}.{GROUP}: the CRD was deleted or never installed."
            raise CrdMissing(f"{what}\nkubectl apply --server-side -f charts/worker-fleet/crds/") from error

    async def list_deployments(self) -> list[Body]:
        """All Deployments of pools of this release."""
        labels = {**self.selector, POOL_LABEL: exists()}
        return [slim(found) async for found in self.client.list(Deployments, labels=labels, chunk_size=PAGE)]

    async def list_autoscalers(self) -> dict[str, str]:
        """Deployment -> the HorizontalPodAutoscaler that scales it."""
        found = [(hpa["spec"]["scaleTargetRef"], hpa) async for hpa in self.client.list(Autoscalers)]
        return {to["name"]: hpa["metadata"]["name"] for to, hpa in found if to["kind"] == "Deployment"}

    async def list_pods(self, labels: Body) -> list[Body]:
        """The pods that ReplicaSets have with these labels."""
        labels, phases = {**labels, TEMPLATE_LABEL: exists()}, {"status.phase": not_in(["Succeeded", "Failed"])}
        return [pod async for pod in self.client.list(Pods, labels=labels, fields={**phases})]

    async def scale(self, deployment: str, replicas: int, version: str | None, *, trial: bool = False) -> None:
        """Make `replicas` the number that is wanted, and ours. A conflict (409) when `version` is not the latest;
        of a trial, which writes nothing, when the number is somebody else's."""
        metadata = {"name": deployment, "namespace": self.client.namespace, "resourceVersion": version}
        # An apply needs its kind in the body.
        body = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": metadata, "spec": {"replicas": replicas}}
        scale: Any = Deployments.Scale.from_dict(body)  # a resource without a list, which lightkube has no type for
        await self.client.apply(scale, deployment, force=not trial, dry_run=trial)

    async def foreign_manager(self, deployment: str, live: int) -> str | None:
        """Who else set the replicas that are `live`; None when our own name still stands on the field."""
        try:
            # Of another number, downwards: a policy may forbid more.
            await self.scale(deployment, abs(live - 1), None, trial=True)
        except ApiError as error:
            if error.response.status_code != 409:
                raise
            named = re.search(r'conflicts? with "([^"]+)"', str(error))
            return named[1] if named else "somebody"
        return None

    async def set_cost(self, pod: str, cost: int | None) -> None:
        """How soon a ReplicaSet that shrinks takes a pod; None: as others. A pod that is gone needs none."""
        patch = {"metadata": {"annotations": {COST: None if cost is None else str(cost)}}}
        try:
            await self.client.patch(Pods, pod, patch, patch_type=PatchType.MERGE)
        except ApiError as error:
            if error.response.status_code != 404:
                raise

    async def write_status(self, pool: str, status: Body) -> None:
        """Lay `status` over that of a pool; a key with None is removed."""
        async with self.lanes:
            await self.client.patch(WorkerPools.Status, pool, {"status": status}, patch_type=PatchType.MERGE)

    async def emit(self, pool: Body, reason: str, message: str, *, warning: bool = False) -> None:
        """An Event on a pool, as `kubectl describe wp` shows it."""
        now, of = timestamp(datetime.now(UTC)), pool["metadata"]
        metadata = {"generateName": f"{of['name']}-", "namespace": of["namespace"]}
        about = {"apiVersion": f"{GROUP}/{VERSION}", "kind": KIND, **{k: of[k] for k in ("name", "namespace", "uid")}}
        said = {"reason": reason, "message": message[:1000], "type": "Warning" if warning else "Normal"}
        seen = {"count": 1, "firstTimestamp": now, "lastTimestamp": now, "source": {"component": MANAGER}}
        await self.client.create(Events.from_dict({"metadata": metadata, "involvedObject": about, **said, **seen}))
