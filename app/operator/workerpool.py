"""The WorkerPool resource as data: what its spec asks for, and what its status remembers.

The API server has validated the object (schema and CEL), so reading it cannot fail on values; a field that an older
CRD lacks has its default here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from app.scaling.policy import Policy

GROUP = "workerfleet.dev"
VERSION = "v1alpha1"
PLURAL = "workerpools"
KIND = "WorkerPool"
POOL_LABEL = f"{GROUP}/pool"
INSTANCE_LABEL = "app.kubernetes.io/instance"


@dataclass(frozen=True)
class WorkerPool:
    """One pool as the user asked for it."""

    name: str
    namespace: str
    uid: str
    policy: Policy
    task_types: tuple[Literal["workflow", "activity"], ...]
    pin: int | None
    """spec.replicas: the number that a person fixed, None while it is automatic."""
    paused: bool
    hold_s: float


@dataclass(frozen=True)
class Remembered:
    """What the status holds of earlier looks; None is "not there"."""

    desired: int | None
    """Replicas that the operator wrote last."""
    live: int | None
    """Replicas that the Deployment had."""
    held_since: datetime | None
    pinned_since: datetime | None


def read_pool(body: Mapping[str, Any]) -> WorkerPool:
    """The pool of a WorkerPool object."""
    metadata, spec = body["metadata"], body["spec"]
    down = spec.get("scaleDown", {})
    return WorkerPool(
        name=metadata["name"],
        namespace=metadata["namespace"],
        uid=metadata.get("uid", ""),
        policy=Policy(
            task_queue=spec["taskQueue"],
            min_replicas=spec.get("minReplicas", 1),
            max_replicas=spec.get("maxReplicas", 10),
            slots_per_replica=spec.get("slotsPerReplica", 10),
            max_wait_s=spec.get("maxWaitSeconds", 5),
            utilization=spec.get("utilization", 80),
            backlog_per_replica=spec.get("backlogPerReplica", 20),
            idle_s=spec.get("idleSeconds", 600),
            stabilization_window_s=down.get("stabilizationWindowSeconds", 300),
            max_percent=down.get("maxPercent", 25),
            long_activities=spec.get("longActivities", False),
        ),
        task_types=tuple(spec.get("taskTypes", ("workflow", "activity"))),
        pin=spec.get("replicas"),
        paused=spec.get("paused", False),
        hold_s=spec.get("holdSeconds", 900),
    )


def read_status(body: Mapping[str, Any], deployment: Mapping[str, Any]) -> Remembered:
    """What the operator left in the status of a WorkerPool object; nothing of a Deployment older than `deployment`."""
    status, made = body.get("status") or {}, deployment["metadata"].get("creationTimestamp", "")
    if made and status.get("observedTime", "") <= made:
        status = {}
    since = [_time(status.get(key)) for key in ("heldSince", "pinnedSince")]
    return Remembered(status.get("desiredReplicas"), status.get("replicas"), *since)


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text.replace("Z", "+00:00")) if text else None


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC to the second, as Kubernetes writes times."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
