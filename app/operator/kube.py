"""The few calls that the operator makes to the API server, each with the least right that it needs.

Replicas are written by server-side apply on /scale with a field manager of our own: the API server then knows that the
number is ours, which is the only way to tell a person's `kubectl scale` from a write of ours that a crash kept out of
the status. Never by merge patch: one of an equal value erases the ownership.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from httpx2 import HTTPStatusError
from lightkube import AsyncClient
from lightkube.core.exceptions import ApiError
from lightkube.generic_resource import create_namespaced_resource
from lightkube.models.autoscaling_v1 import ScaleSpec
from lightkube.models.core_v1 import EventSource, ObjectReference
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.operators import exists
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.autoscaling_v2 import HorizontalPodAutoscaler
from lightkube.resources.core_v1 import Event
from lightkube.types import PatchType

from app.operator.workerpool import GROUP, KIND, PLURAL, POOL_LABEL, VERSION, WorkerPool
from app.scaling.fleet import FleetGone

MANAGER = "workerfleet-operator"
HPA_MANAGER = "kube-controller-manager"
"""Field manager of what a HorizontalPodAutoscaler writes."""

WorkerPools = create_namespaced_resource(GROUP, VERSION, KIND, PLURAL)


class CrdMissing(FleetGone):
    """The cluster does not know WorkerPools. kopf ends when they go under its watch; one begun later waits for ever."""

    def __init__(self) -> None:
        super().__init__(
            f"the cluster has no {PLURAL}.{GROUP}: the CRD was deleted or never installed.\n"
            "kubectl apply --server-side -f charts/worker-fleet/crds/"
        )


class Kube:
    """Calls in the client's namespace, as its field manager. They raise ApiError, and httpx2's on a broken line."""

    def __init__(self, client: AsyncClient, selector: Mapping[str, Any]) -> None:
        """`selector`: labels of the objects that this operator may touch."""
        self._client = client
        self._selector = dict(selector)

    async def list_pools(self) -> list[dict[str, Any]]:
        """All WorkerPools of this release. Raises CrdMissing."""
        try:
            return [pool async for pool in self._client.list(WorkerPools, labels=self._selector)]
        # Not an ApiError: for a group that it does not know, the API server answers in plain text.
        except HTTPStatusError as error:
            if error.response.status_code == 404:
                raise CrdMissing from error
            raise

    async def list_deployments(self) -> list[dict[str, Any]]:
        """All Deployments of pools of this release, as plain data."""
        labels = {**self._selector, POOL_LABEL: exists()}
        return [d.to_dict() async for d in self._client.list(Deployment, labels=labels)]

    async def list_autoscalers(self) -> dict[str, str]:
        """Deployment -> the HorizontalPodAutoscaler that scales it."""
        found: dict[str, str] = {}
        async for hpa in self._client.list(HorizontalPodAutoscaler):
            target = hpa.spec.scaleTargetRef
            if target.kind == "Deployment" and hpa.metadata:
                found[target.name] = hpa.metadata.name or ""
        return found

    async def scale(self, deployment: str, replicas: int, version: str) -> None:
        """Make `replicas` the number that is wanted, and ours. A conflict (409) when `version` is not the latest."""
        await self._apply(deployment, replicas, version)

    async def foreign_manager(self, deployment: str, live: int) -> str | None:
        """Who else set the replicas that are `live`; None when our own name still stands on the field.

        A trial write (dry run) of another number: it conflicts with whoever owns the field.
        """
        try:
            # Downwards: a policy may forbid more.
            await self._apply(deployment, abs(live - 1), trial=True)
        except ApiError as error:
            if error.response.status_code != 409:
                raise
            named = re.search(r'conflicts? with "([^"]+)"', str(error))
            return named[1] if named else "somebody"
        return None

    async def write_status(self, pool: str, status: Mapping[str, Any]) -> None:
        """Lay `status` over that of a pool; a key with None is removed."""
        await self._client.patch(WorkerPools.Status, pool, {"status": dict(status)}, patch_type=PatchType.MERGE)

    async def emit(self, pool: WorkerPool, reason: str, message: str, *, warning: bool = False) -> None:
        """An Event on a pool, as `kubectl describe wp` shows it."""
        now = datetime.now(UTC)
        await self._client.create(
            Event(
                metadata=ObjectMeta(generateName=f"{pool.name}-", namespace=pool.namespace),
                involvedObject=ObjectReference(
                    apiVersion=f"{GROUP}/{VERSION}", kind=KIND, name=pool.name, namespace=pool.namespace, uid=pool.uid
                ),
                reason=reason,
                message=message[:1000],
                type="Warning" if warning else "Normal",
                count=1,
                firstTimestamp=now,
                lastTimestamp=now,
                source=EventSource(component=MANAGER),
            )
        )

    async def _apply(self, name: str, replicas: int, version: str | None = None, *, trial: bool = False) -> None:
        metadata = ObjectMeta(name=name, namespace=self._client.namespace, resourceVersion=version)
        spec = ScaleSpec(replicas=replicas)
        # An apply needs its kind in the body.
        scale = Deployment.Scale(apiVersion="autoscaling/v1", kind="Scale", metadata=metadata, spec=spec)
        await self._client.apply(scale, name, force=not trial, dry_run=trial)
