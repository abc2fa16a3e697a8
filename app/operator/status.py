"""The status of a WorkerPool, what `kubectl get workerpools` shows, and the Events on it. Pure.

Condition names are never Ready or Stalled, and no observedGeneration is written: Helm 4 `--wait` would wait for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from app.core.config.pool import PoolSpec
from app.operator.workerpool import Body, Control, Mode, timestamp
from app.scaling.demand import Demand
from app.scaling.fleet import Pool
from app.scaling.policy import Decision, Policy, Reason

FAILED = "FailedUpdateScale"  # the reason that an HPA has for it
LIMITED = {Reason.AT_MAXIMUM, Reason.AT_MINIMUM, Reason.RATE_LIMITED, Reason.NOT_DISPATCHING}
LIMITED |= {Reason.NOT_STARTING, Reason.COUNT_IN_DOUBT}


@dataclass
class Seen:
    """One pool of one look. What is known of its past is `told`, the status that was told last."""

    body: Body
    spec: PoolSpec
    deployment: Body
    control: Control
    told: Body = field(default_factory=dict)
    written: int | None = None  # what was then made of its replicas
    said: tuple[str, str] | None = None  # reason and message, where that did not go as decided

    def __post_init__(self) -> None:
        metadata, spec = self.deployment["metadata"], self.deployment["spec"]
        self.name: str = metadata.get("name", "")
        self.uids = self.body["metadata"].get("uid"), metadata.get("uid")
        self.live: int = spec.get("replicas", 1)
        self.ready: int = self.deployment.get("status", {}).get("readyReplicas", 0)
        self.labels: dict[str, str] = spec["selector"].get("matchLabels", {})

    @property
    def desired(self) -> int | None:
        """What we wrote last. Of a paused pool what others made of it, as they were asked to: from there it goes on."""
        ours = self.control.replicas if self.control.mode is Mode.PAUSED else self.told.get("desiredReplicas")
        return ours if self.written is None else self.written

    @cached_property
    def pool(self) -> Pool:
        name, spec, automatic = self.body["metadata"]["name"], self.spec, self.control.mode is Mode.AUTOMATIC
        policy = Policy.of(spec, spec.task_queue, spec.slots_per_replica)
        return Pool(name, policy, spec.task_types, self.live, self.ready, automatic, spec.wake_with)


def pool_status(seen: Seen, demand: Demand | None, decision: Decision, now: datetime) -> Body:
    """The status to lay over the one that is there; None removes a key."""
    control, automatic = seen.control, seen.control.mode is Mode.AUTOMATIC
    known, types = (str(demand.known), demand.types) if demand else ("None", ())
    backlogs = [t.backlog for t in types if t.backlog is not None]
    ages = [t.backlog_age_s for t in types if t.backlog_age_s is not None]
    # The slots of activities where there are any: those of workflow tasks are milliseconds long and always free.
    slots = [t for t in types if t.task_type == "activity"] or types
    used = [t.used_slots for t in slots if t.used_slots is not None]
    total = [t.total_slots for t in slots if t.total_slots is not None]
    decided = (decision.reason, decision.message) if automatic else (control.mode, control.message)
    reason, message = seen.said or decided
    conditions = (
        ("ScalingActive", automatic, control.mode.value),
        ("ScalingLimited", automatic and decision.reason in LIMITED, decision.reason.value),
        ("DemandKnown", known == "Full", known),
    )
    return {
        "replicas": seen.live if seen.written is None else seen.written,
        "desiredReplicas": seen.desired,
        "readyReplicas": seen.ready,
        "selector": ",".join(f"{key}={value}" for key, value in sorted(seen.labels.items())),
        "backlog": sum(backlogs) if backlogs else None,
        "backlogAgeSeconds": round(max(ages)) if ages else None,
        "slots": f"{max(used, default=0)}/{max(total, default=0)}" if used else None,
        "mode": control.mode.value,
        "reason": str(reason),
        "message": message,
        "lastScaleTime": seen.told.get("lastScaleTime") if seen.written in (None, seen.live) else timestamp(now),
        "pinnedSince": control.pinned_since,
        "heldSince": control.held_since,
        "conditions": [{"type": kind, "status": str(holds), "reason": why} for kind, holds, why in conditions],
    }


def news(seen: Seen, status: Body) -> Iterator[tuple[str, str, bool]]:
    """Reason and message of the Events that `status` is worth after the one told before, and whether they warn."""
    before, mode = seen.told.get("mode"), seen.control.mode
    if status["reason"] == FAILED and seen.said != (seen.told.get("reason"), seen.told.get("message")):
        yield FAILED, status["message"], True
    if before == Mode.HELD and mode is Mode.AUTOMATIC:
        yield "Released", f"{seen.live} replicas are no longer held", False
    if seen.written not in (None, seen.live):
        yield status["reason"], f"{seen.live} -> {seen.written} replicas: {status['message']}", False
    elif mode is Mode.HELD and before != Mode.HELD:
        yield "Held", seen.control.message, True
