"""A WorkerPool: what its spec asks for, what its status remembers, and who decides on the replicas now. Pure.

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

import re
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from pydantic.alias_generators import to_camel

from app.core.config.model import ScalingSettings
from app.scaling.fleet import Pool
from app.scaling.policy import Policy

Body = dict[str, Any]
GROUP = "workerfleet.dev"
VERSION = "v1alpha1"
PLURAL = "workerpools"
KIND = "WorkerPool"
POOL_LABEL = f"{GROUP}/pool"
INSTANCE_LABEL = "app.kubernetes.io/instance"
_DEFAULTS = {**ScalingSettings().model_dump(), "slots_per_replica": 10}
# What a field of Policy is called in a spec: max_wait_s is maxWaitSeconds.
_KEYS = {field.name: to_camel(re.sub("_s$", "_seconds", field.name)) for field in fields(Policy)}


def read_pool(body: Body, replicas: int, ready: int, *, automatic: bool) -> Pool:
    """The pool of a WorkerPool object, which the API server has validated; an older CRD may lack fields."""
    spec = {**body["spec"], **body["spec"].get("scaleDown", {})}
    policy = Policy(**(_DEFAULTS | {field: spec[key] for field, key in _KEYS.items() if key in spec}))
    types, wake_with = tuple(spec.get("taskTypes", ("workflow", "activity"))), tuple(spec.get("wakeWith", ()))
    return Pool(body["metadata"]["name"], policy, types, replicas, ready, automatic, wake_with)


def read_status(body: Body, deployment: Body) -> Body:
    """The status of a WorkerPool object; nothing where that was told before there was this Deployment."""
    status, made = body.get("status") or {}, deployment["metadata"].get("creationTimestamp")
    return dict(status) if made and status.get("observedTime", "") > made else {}


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


def control(body: Body, told: Body, live: int, now: datetime, *, foreign: str | None, hpa: str | None) -> Control:
    """Who decides on the pool of `body`, of which `told` is the status; its Deployment has `live` replicas wanted.

    `foreign`: who else set them, None where we did; `hpa`: the HorizontalPodAutoscaler that scales it.
    """
    spec, pin, hold_s = body["spec"], body["spec"].get("replicas"), body["spec"].get("holdSeconds", 900)
    if spec.get("paused"):
        return Control(Mode.PAUSED, live, f"paused at {live}; spec.paused ends it")
    if hpa is not None:
        message = f"HorizontalPodAutoscaler {hpa} scales the Deployment, {live} now; without it this pool scales again"
        return Control(Mode.HELD, live, message)
    if pin is not None:
        unpin = f'kubectl patch wp {body["metadata"]["name"]} --type=merge -p \'{{"spec":{{"replicas":null}}}}\''
        message, since = f"pinned to {pin}; back to automatic: {unpin}", told.get("pinnedSince") or timestamp(now)
        return Control(Mode.PINNED, pin, message, pinned_since=since)
    if foreign is None:
        return Control(Mode.AUTOMATIC, None)
    # A number that is another one than before is held from now on.
    since = (told.get("replicas") == live and told.get("heldSince")) or timestamp(now)
    if live == 0 or hold_s == 0:
        message = f"{foreign} set {live}; held until somebody scales it to {told.get('desiredReplicas')}"
        return Control(Mode.HELD, live, message, since)
    end = datetime.fromisoformat(since) + timedelta(seconds=hold_s)
    if now >= end:
        return Control(Mode.AUTOMATIC, None, f"the hold of {live} has ended")
    # Not how long it still is: that would be news at every look.
    return Control(Mode.HELD, live, f"{foreign} set {live}; held until {timestamp(end)}", since)
