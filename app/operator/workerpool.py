"""A WorkerPool: what its spec asks for, what its status remembers, and who decides on the replicas now. Pure.

    paused                       -> nobody writes
    an HPA on the Deployment     -> Held: two autoscalers would fight for ever, and it was there on purpose
    spec.replicas of the pool    -> Pinned: that number, until it is removed
    live != what we wrote last   -> Held: somebody scaled the Deployment; honoured for holdSeconds, then taken back
    otherwise                    -> Automatic

managedFields cannot tell who scaled or when, so the rule is a level, not an event: a live number that is not in the
status is foreign. Or we crashed between both writes: `foreign` is whom a trial write conflicts with, else None.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from app.core.config.pool import PoolSpec

Body = dict[str, Any]
GROUP, VERSION, PLURAL, KIND = "workerfleet.dev", "v1alpha1", "workerpools", "WorkerPool"
POOL_LABEL = f"{GROUP}/pool"
INSTANCE_LABEL = "app.kubernetes.io/instance"


def slim(body: Body) -> Body:
    """A copy without what nobody reads, most of an object."""
    unread = {"managedFields", "annotations", "template", "strategy"}
    return {k: {n: x for n, x in v.items() if n not in unread} for k, v in body.items() if isinstance(v, dict)}


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC to the second, as Kubernetes writes times."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


class Mode(StrEnum):
    AUTOMATIC = "Automatic"
    PINNED = "Pinned"
    HELD = "Held"
    PAUSED = "Paused"


@dataclass(frozen=True)
class Control:
    """The verdict. `replicas`: the number to bring about, None where the autoscaler's decision is."""

    mode: Mode
    replicas: int | None
    message: str = ""
    held_since: str | None = None
    pinned_since: str | None = None


def control(
    name: str, spec: PoolSpec, told: Body, live: int, now: datetime, foreign: str | None, hpa: str | None
) -> Control:
    """Who decides on the pool `name`, of which `told` is the status; its Deployment has `live` replicas wanted.

    `foreign`: who else set them, None where we did; `hpa`: the HorizontalPodAutoscaler that scales it.
    """
    if spec.paused:
        return Control(Mode.PAUSED, live, f"paused at {live}; spec.paused ends it")
    if hpa is not None:
        message = f"HorizontalPodAutoscaler {hpa} scales the Deployment, {live} now; without it this pool scales again"
        return Control(Mode.HELD, live, message)
    if (pin := spec.replicas) is not None:
        unpin = f'kubectl patch wp {name} --type=merge -p \'{{"spec":{{"replicas":null}}}}\''
        message, since = f"pinned to {pin}; back to automatic: {unpin}", told.get("pinnedSince") or timestamp(now)
        return Control(Mode.PINNED, pin, message, pinned_since=since)
    if foreign is None:
        return Control(Mode.AUTOMATIC, None)
    # A number that is another one than before is held from now on.
    since = (told.get("replicas") == live and told.get("heldSince")) or timestamp(now)
    if live == 0 or spec.hold_s == 0:
        message = f"{foreign} set {live}; held until somebody scales it to {told.get('desiredReplicas')}"
        return Control(Mode.HELD, live, message, since)
    end = datetime.fromisoformat(since) + timedelta(seconds=spec.hold_s)
    if now >= end:
        return Control(Mode.AUTOMATIC, None, f"the hold of {live} has ended")
    # Not how long it still is: that would be news at every look.
    return Control(Mode.HELD, live, f"{foreign} set {live}; held until {timestamp(end)}", since)
