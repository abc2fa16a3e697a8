"""The WorkerPool resource as data: what its spec asks for, and what its status remembers.

The API server has validated the object (schema and CEL), so reading it cannot fail on values; a field that an older
CRD lacks has its default here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Literal

from app.core.config.model import ScalingSettings
from app.scaling.policy import Policy

GROUP = "workerfleet.dev"
VERSION = "v1alpha1"
PLURAL = "workerpools"
KIND = "WorkerPool"
POOL_LABEL = f"{GROUP}/pool"
INSTANCE_LABEL = "app.kubernetes.io/instance"
_DEFAULTS = {**ScalingSettings().model_dump(), "slots_per_replica": 10}


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
    wake_with: tuple[str, ...]
    """Task queues that wake this pool too: their workflows call activities here."""


def read_pool(body: Mapping[str, Any]) -> WorkerPool:
    """The pool of a WorkerPool object."""
    metadata, spec = body["metadata"], {**body["spec"], **body["spec"].get("scaleDown", {})}
    asked = {field.name: spec[_key(field.name)] for field in fields(Policy) if _key(field.name) in spec}
    return WorkerPool(
        name=metadata["name"],
        namespace=metadata["namespace"],
        uid=metadata.get("uid", ""),
        policy=Policy(**(_DEFAULTS | asked)),
        task_types=tuple(spec.get("taskTypes", ("workflow", "activity"))),
        pin=spec.get("replicas"),
        paused=spec.get("paused", False),
        hold_s=spec.get("holdSeconds", 900),
        wake_with=tuple(spec.get("wakeWith", ())),
    )


def _key(field: str) -> str:
    """What a field of Policy is called in a spec: max_wait_s is maxWaitSeconds."""
    first, *rest = re.sub("_s$", "_seconds", field).split("_")
    return first + "".join(word.capitalize() for word in rest)


def read_status(body: Mapping[str, Any], deployment: Mapping[str, Any]) -> dict[str, Any]:
    """The status of a WorkerPool object; nothing where that was told before there was this Deployment."""
    status, made = body.get("status") or {}, deployment["metadata"].get("creationTimestamp")
    return dict(status) if made and status.get("observedTime", "") > made else {}


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC to the second, as Kubernetes writes times."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
