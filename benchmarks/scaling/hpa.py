"""Kubernetes' HorizontalPodAutoscaler (autoscaling/v2): the sync that KEDA and an HPA on CPU share.

Without `behavior` the controller keeps the recommendations of 300 s and walks towards the highest of them even after it
is out of date, at most doubling (or to 4) a sync: the overshoot that facts measured after a finished burst. With
`behavior` only scaling down looks back.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

SYNC_S = 15.0
TOLERANCE = 0.1
DOWN_WINDOW_S = 300.0


@dataclass
class Hpa:
    """`pods_per_sync` None: no `behavior`; else its scale-up policy of so many pods in 15 s."""

    min_replicas: int
    max_replicas: int
    pods_per_sync: int | None = None
    _seen: list[tuple[float, int]] = field(default_factory=list)

    def sync(self, now: float, current: int, recommended: int) -> int:
        """Replicas from now on, where the metrics alone would have `recommended`."""
        self._seen = [(at, n) for at, n in self._seen if at > now - DOWN_WINDOW_S] + [(now, recommended)]
        highest = max(n for _, n in self._seen)
        if self.pods_per_sync is None:
            wanted, top = highest, max(2 * current, 4)
        else:
            wanted, top = recommended if recommended > current else min(current, highest), current + self.pods_per_sync
        return max(self.min_replicas, min(wanted, top, self.max_replicas))


def by_value(current: int, total: float, target: float) -> int:
    """An external metric of type AverageValue."""
    if current and abs(total / (target * current) - 1) <= TOLERANCE:
        return current
    return math.ceil(total / target - 1e-9)


def by_utilization(ready: list[float], starting: int, current: int, target: float) -> int:
    """A resource metric: the shares in use of the pods that are ready, against `target`.

    Pods that are not ready count as unused where that matters for scaling up, as the controller has it.
    """
    if not ready:
        return current
    ratio = sum(ready) / len(ready) / target
    counted = len(ready)
    if ratio > 1 and starting:
        counted += starting
        ratio = sum(ready) / counted / target
        if ratio < 1:
            return current
    if abs(ratio - 1) <= TOLERANCE:
        return current
    return math.ceil(ratio * counted - 1e-9)
