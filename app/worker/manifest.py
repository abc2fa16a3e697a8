"""The queue manifest: what the Helm chart must know of the code, printed from the registry.

The chart makes one Deployment for each queue in it. The digest covers what only the code decides (queues, task types,
handlers), not what an environment may override (slots, drain), so a worker can compare its own registry with the
manifest that its Deployment was made from, and refuse to serve under a wrong one. What an activity promises of a drain
is in it too, as the chart refuses a drain that would break it.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from typing import Any

from app.core.config import Settings
from app.worker.named_in_code import callers
from app.worker.promises import finishing_drain_s
from app.worker.queues import TaskQueue, task_queues
from app.worker.registry import Handler, Problem, Registry

SLUG_LENGTH = 40
"""Leaves room for the release's name in a Kubernetes name of 63 characters."""


def registry_digest(registry: Registry) -> str:
    """`sha256:...` of the queues and their handlers; the same for the same code on every machine."""
    said = {queue: sorted(map(_said, handlers)) for queue, handlers in registry.queues().items()}
    return f"sha256:{hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()}"


def other_manifest(registry: Registry, digest: str) -> list[Problem]:
    """A problem when `digest` is given and is not this registry's: the chart and the image are of different code."""
    own = registry_digest(registry)
    if not digest or digest == own:
        return []
    return [
        Problem(
            "temporal.worker.manifest_digest",
            f"this image has the queues {', '.join(registry.queues())} with the digest {own}, "
            f"its Deployment was made for {digest}",
            "Make the manifest anew (fleet queues --manifest) and upgrade chart and image together.",
        )
    ]


def queue_manifest(registry: Registry, settings: Settings, image_repository: str) -> dict[str, Any]:
    """The manifest as plain data; queues by slug, in order. `image_repository`: of the image that holds this code."""
    queues: dict[str, Any] = {}
    # Here and not in the view of a queue: it reads all code of all workflows, and workers start without.
    calling = callers(registry)
    for queue in task_queues(registry, settings).values():
        queues[slug(queue.name)] = {
            "taskQueue": queue.name,
            "taskTypes": queue.task_types,
            "slots": queue.worker.max_concurrent_activities,
            "drainSeconds": math.ceil(queue.worker.drain_timeout_s),
            "unwindSeconds": math.ceil(queue.worker.unwind_timeout_s),
            "flushSeconds": math.ceil(queue.worker.flush_timeout_s),
            "longActivities": queue.scaling.long_activities,
            **_promised(queue),
            **({"wakeWith": [slug(caller) for caller in calling[queue.name]]} if calling[queue.name] else {}),
        }
    return {"imageRepository": image_repository, "digest": registry_digest(registry), "queues": queues}


def _promised(queue: TaskQueue) -> dict[str, int]:
    """What the drain of a queue must be for its activities' promises, in seconds; absent where none was made.

    At least finishSeconds for those that finish in it, above heartbeatSeconds for those that are handed over.
    """
    finish: list[float] = []
    beats: list[float] = []
    for handler in queue.activities:
        promised, options = handler.promise.on_drain, queue.options[handler.name]
        if promised == "finish":
            finish.append(finishing_drain_s(options.start_to_close_timeout_s, queue.worker))
        if promised == "hand_over":
            beats.append(options.heartbeat_timeout_s or 0)
    least = {"finishSeconds": finish, "heartbeatSeconds": beats}
    return {key: math.ceil(max(seconds)) for key, seconds in least.items() if seconds}


def _said(handler: Handler) -> str:
    """A handler with what its code alone decides; without a promise as it was before there were any."""
    said, promise = f"{handler.kind} {handler.name}", handler.promise
    if promise.on_drain:
        said += f" {promise.on_drain} {promise.start_to_close_s} {promise.heartbeat_s}"
    return said


def manifest_yaml(manifest: dict[str, Any]) -> str:
    """The manifest as text: YAML whose values are JSON, one queue a line."""
    head = [f"{key}: {json.dumps(value)}" for key, value in manifest.items() if key != "queues"]
    queues = [f"  {name}: {json.dumps(queue)}" for name, queue in manifest["queues"].items()]
    return "\n".join(["# Printed by `fleet queues --manifest`; do not edit.", *head, "queues:", *queues, ""])


def slug(queue: str) -> str:
    """A queue's name as a DNS label of at most 40 characters; one that loses something gets a hash of what it was."""
    plain = re.sub(r"[^a-z0-9]+", "-", queue.lower()).strip("-")
    if plain == queue and len(queue) <= SLUG_LENGTH:
        return queue
    mark = hashlib.sha256(queue.encode()).hexdigest()[:8]
    return f"{plain[: SLUG_LENGTH - 9].strip('-') or 'queue'}-{mark}"
