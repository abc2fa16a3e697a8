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

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from app.operator.workerpool import Remembered, WorkerPool, timestamp


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
    held_since: datetime | None = None
    pinned_since: datetime | None = None


def differs(remembered: Remembered, live: int) -> bool:
    """Whether a trial write is needed to know who set `live`."""
    return remembered.desired is not None and remembered.desired != live


def control(
    pool: WorkerPool, remembered: Remembered, live: int, now: datetime, *, foreign: str | None, hpa: str | None
) -> Control:
    """Who decides on `pool`, whose Deployment has `live` replicas wanted; `hpa`: its HorizontalPodAutoscaler's name."""
    if pool.paused:
        return Control(Mode.PAUSED, live, f"paused at {live}; spec.paused ends it")
    if hpa is not None:
        message = f"HorizontalPodAutoscaler {hpa} scales the Deployment, {live} now; without it this pool scales again"
        return Control(Mode.HELD, live, message)
    if pool.pin is not None:
        unpin = f'kubectl patch wp {pool.name} --type=merge -p \'{{"spec":{{"replicas":null}}}}\''
        return Control(
            Mode.PINNED,
            pool.pin,
            f"pinned to {pool.pin}; back to automatic: {unpin}",
            pinned_since=remembered.pinned_since or now,
        )
    if not differs(remembered, live) or foreign is None:
        return Control(Mode.AUTOMATIC, None)
    # A number that is another one than before is held from now on.
    since = remembered.held_since if remembered.held_since and remembered.live == live else now
    if live == 0 or pool.hold_s == 0:
        return Control(
            Mode.HELD, live, f"{foreign} set {live}; held until somebody scales it to {remembered.desired}", since
        )
    end = since + timedelta(seconds=pool.hold_s)
    if now >= end:
        return Control(Mode.AUTOMATIC, None, f"the hold of {live} has ended")
    # Not how long it still is: that would be news at every look.
    return Control(Mode.HELD, live, f"{foreign} set {live}; held until {timestamp(end)}", since)
