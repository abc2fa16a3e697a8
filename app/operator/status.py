"""The status of a WorkerPool: what `kubectl get workerpools` shows. Pure.

Condition names are never Ready or Stalled, and no observedGeneration is written: Helm 4 `--wait` would wait for them.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from app.operator.ownership import Control, Mode
from app.operator.workerpool import timestamp
from app.scaling.demand import Demand
from app.scaling.policy import Decision, Reason

LIMITED = (Reason.AT_MAXIMUM, Reason.AT_MINIMUM, Reason.RATE_LIMITED, Reason.NOT_DISPATCHING)


def pool_status(
    *,
    control: Control,
    live: int,
    ready: int,
    selector: str,
    desired: int | None,
    scaled_at: datetime | None,
    demand: Demand | None,
    decision: Decision,
) -> dict[str, Any]:
    """The status to lay over the one that is there; None removes a key, an absent key leaves it alone."""
    automatic = control.mode is Mode.AUTOMATIC
    types = demand.types if demand else ()
    backlogs = [t.backlog for t in types if t.backlog is not None]
    ages = [t.backlog_age_s for t in types if t.backlog_age_s is not None]
    # The slots of activities where there are any: those of workflow tasks are milliseconds long and always free.
    slots = [t for t in types if t.task_type == "activity"] or types
    used = [t.used_slots for t in slots if t.used_slots is not None]
    total = [t.total_slots for t in slots if t.total_slots is not None]
    status: dict[str, Any] = {
        "replicas": live,
        "readyReplicas": ready,
        "selector": selector,
        "backlog": sum(backlogs) if backlogs else None,
        "backlogAgeSeconds": round(max(ages)) if ages else None,
        "slots": f"{max(used, default=0)}/{max(total, default=0)}" if used else None,
        "mode": control.mode.value,
        "reason": decision.reason.value if automatic else control.mode.value,
        "message": decision.message if automatic else control.message,
        "pinnedSince": timestamp(control.pinned_since) if control.pinned_since else None,
        "heldSince": timestamp(control.held_since) if control.held_since else None,
        "conditions": [
            _condition("ScalingActive", automatic, control.mode.value),
            _condition("ScalingLimited", automatic and decision.reason in LIMITED, decision.reason.value),
            _condition("DemandKnown", demand is not None and demand.known == "Full", _known(demand)),
        ],
    }
    if desired is not None:
        status["desiredReplicas"] = desired
    if scaled_at is not None:
        status["lastScaleTime"] = timestamp(scaled_at)
    return status


def _condition(kind: str, holds: bool, reason: str) -> dict[str, str]:
    return {"type": kind, "status": "True" if holds else "False", "reason": reason}


def _known(demand: Demand | None) -> str:
    return str(demand.known) if demand else "None"
