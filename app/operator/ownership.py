"""Who decides on the replicas of a Deployment now: the autoscaler, or a person (or another controller). Pure.

    paused                       -> nobody writes
    an HPA on the Deployment     -> Held: two autoscalers would fight for ever, and it was there on purpose
    spec.replicas of the pool    -> Pinned: that number, until it is removed
    live != what we wrote last   -> Held: somebody scaled the Deployment; honoured for holdSeconds, then taken back
    otherwise                    -> Automatic

managedFields cannot tell who scaled or when, so the rule is a level, not an event: our last write is in the status and
a live number that differs is foreign. One case looks the same and is not: we crashed between writing the Deployment and
the status. The API server tells them apart: `foreign` is whom a trial write conflicts with, None where it is ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from app.operator.workerpool import WorkerPool, timestamp


class Mode(StrEnum):
    """Who decides."""

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
    pool: WorkerPool, told: Mapping[str, Any], live: int, now: datetime, *, foreign: str | None, hpa: str | None
) -> Control:
    """Who decides on `pool`, of which `told` is the status; its Deployment has `live` replicas wanted.

    `foreign`: who else set them, None where we did; `hpa`: the HorizontalPodAutoscaler that scales it.
    """
    if pool.paused:
        return Control(Mode.PAUSED, live, f"paused at {live}; spec.paused ends it")
    if hpa is not None:
        message = f"HorizontalPodAutoscaler {hpa} scales the Deployment, {live} now; without it this pool scales again"
        return Control(Mode.HELD, live, message)
    if pool.pin is not None:
        unpin = f'kubectl patch wp {pool.name} --type=merge -p \'{{"spec":{{"replicas":null}}}}\''
        message, since = f"pinned to {pool.pin}; back to automatic: {unpin}", told.get("pinnedSince") or timestamp(now)
        return Control(Mode.PINNED, pool.pin, message, pinned_since=since)
    if foreign is None:
        return Control(Mode.AUTOMATIC, None)
    # A number that is another one than before is held from now on.
    since = (told.get("replicas") == live and told.get("heldSince")) or timestamp(now)
    if live == 0 or pool.hold_s == 0:
        message = f"{foreign} set {live}; held until somebody scales it to {told.get('desiredReplicas')}"
        return Control(Mode.HELD, live, message, since)
    end = datetime.fromisoformat(since) + timedelta(seconds=pool.hold_s)
    if now >= end:
        return Control(Mode.AUTOMATIC, None, f"the hold of {live} has ended")
    # Not how long it still is: that would be news at every look.
    return Control(Mode.HELD, live, f"{foreign} set {live}; held until {timestamp(end)}", since)
