"""Which pods a ReplicaSet takes when it shrinks, and how to make that the idle ones. Pure.

It takes those that are not ready first, then by an annotation, the lowest cost first (ActivePodsWithRanks, in the
ReplicaSet controller), then by node and age, which is not foreseen here: of pods that are alike, those that may have
work count as first. Only pods that are to go are marked: a cost for each busy one would be a write a task.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import takewhile
from typing import Any

COST = "controller.kubernetes.io/pod-deletion-cost"
MARK = -1000
TEMPLATE_LABEL = "pod-template-hash"


def choose(pods: Sequence[dict[str, Any]], spare: Collection[str], replicas: int) -> tuple[dict[str, int | None], int]:
    """Costs by pod to set before `pods` become `replicas`, None to take one back; and how many of them must stay.

    The rest can go before the first that may have work. `spare`: names of idle pods, of other pools too.
    """
    active = {pod["metadata"]["name"]: pod for pod in pods if not pod["metadata"].get("deletionTimestamp")}
    going = max(0, len(active) - replicas)
    told = [(name, pod["status"]) for name, pod in active.items()]
    ready = {name for name, s in told for c in s.get("conditions", ()) if (c["type"], c["status"]) == ("Ready", "True")}
    runs = {name for name, s in told for c in s.get("containerStatuses", ()) if "running" in c.get("state", {})}
    costs = {name: int(pod["metadata"].get("annotations", {}).get(COST, 0)) for name, pod in active.items()}
    idle = sorted(ready.intersection(spare), key=lambda name: (costs[name], name))
    victims = idle[: max(0, going - len(active) + len(ready))]
    # Who was marked once and not taken may have work by now.
    changes = {name: MARK if name in victims else None for name in active if (name in victims) != (costs[name] == MARK)}
    costs |= {name: cost or 0 for name, cost in changes.items()}
    # In a rollout two ReplicaSets shrink, and nobody knows which of them by how many.
    rollout = len({pod["metadata"]["labels"][TEMPLATE_LABEL] for pod in active.values()}) > 1
    free = {name for name in active if not rollout and (name in spare or name not in runs)}
    order = sorted(active, key=lambda name: (name in ready, costs[name], name in free))
    return changes, len(active) - len(list(takewhile(free.__contains__, order[:going])))
