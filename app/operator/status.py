"""The status of a WorkerPool: what `kubectl get workerpools` shows. Pure.

Condition names are never Ready or Stalled, and no observedGeneration is written: Helm 4 `--wait` would wait for them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.operator.objects import Body
from app.operator.ownership import Control, Mode
from app.operator.workerpool import WorkerPool, timestamp
from app.scaling.demand import Demand
from app.scaling.fleet import Pool
from app.scaling.policy import Decision, Reason

FAILED = "FailedUpdateScale"
"""The reason that an HPA has for it."""
LIMITED = (Reason.AT_MAXIMUM, Reason.AT_MINIMUM, Reason.RATE_LIMITED, Reason.NOT_DISPATCHING)


@dataclass
class Seen:
    """One pool of one look; `written` is what was then made of its replicas."""

    pool: WorkerPool
    deployment: Body
    live: int
    control: Control
    written: int | None = None
    problem: str | None = None
    """Why a write was refused."""

    @property
    def ready(self) -> int:
        ready: int = self.deployment.get("status", {}).get("readyReplicas", 0)
        return ready

    def as_pool(self) -> Pool:
        automatic = self.control.mode is Mode.AUTOMATIC
        return Pool(self.pool.name, self.pool.policy, self.pool.task_types, self.live, self.ready, automatic)


def pool_status(
    seen: Seen, desired: int | None, demand: Demand | None, decision: Decision, now: datetime
) -> dict[str, Any]:
    """The status to lay over the one that is there; None removes a key, an absent key leaves it alone."""
    control, automatic = seen.control, seen.control.mode is Mode.AUTOMATIC
    labels = seen.deployment["spec"]["selector"].get("matchLabels", {})
    known = str(demand.known) if demand else "None"
    types = demand.types if demand else ()
    backlogs = [t.backlog for t in types if t.backlog is not None]
    ages = [t.backlog_age_s for t in types if t.backlog_age_s is not None]
    # The slots of activities where there are any: those of workflow tasks are milliseconds long and always free.
    slots = [t for t in types if t.task_type == "activity"] or types
    used = [t.used_slots for t in slots if t.used_slots is not None]
    total = [t.total_slots for t in slots if t.total_slots is not None]
    status: dict[str, Any] = {
        "replicas": seen.live if seen.written is None else seen.written,
        "readyReplicas": seen.ready,
        "selector": ",".join(f"{key}={value}" for key, value in sorted(labels.items())),
        "backlog": sum(backlogs) if backlogs else None,
        "backlogAgeSeconds": round(max(ages)) if ages else None,
        "slots": f"{max(used, default=0)}/{max(total, default=0)}" if used else None,
        "mode": control.mode.value,
        "reason": FAILED if seen.problem else decision.reason.value if automatic else control.mode.value,
        "message": seen.problem or (decision.message if automatic else control.message),
        "pinnedSince": timestamp(control.pinned_since) if control.pinned_since else None,
        "heldSince": timestamp(control.held_since) if control.held_since else None,
        "conditions": [
            {"type": kind, "status": "True" if holds else "False", "reason": reason}
            for kind, holds, reason in (
                ("ScalingActive", automatic, control.mode.value),
                ("ScalingLimited", automatic and decision.reason in LIMITED, decision.reason.value),
                ("DemandKnown", known == "Full", known),
            )
        ],
    }
    if desired is not None or not seen.deployment["metadata"]["name"]:
        status["desiredReplicas"] = desired
    if seen.written not in (None, seen.live):
        status["lastScaleTime"] = timestamp(now)
    return status
