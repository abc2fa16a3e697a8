"""The autoscaler's own metrics. What is unknown has no series: a 0 would look like a calm queue, a NaN spoil every sum.

The last success is a time, not an age: it ages on when the loop hangs. Rejected: one gauge of replicas with a `state`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from prometheus_client import Counter, Gauge, Histogram

_POOL, _TYPE = ("task_queue",), ("task_queue", "task_type")
DESIRED = Gauge("fleet_operator_desired_replicas", "Replicas that the last decision wants.", _POOL)
CURRENT = Gauge("fleet_operator_current_replicas", "Replicas that were wanted before it.", _POOL)
READY = Gauge("fleet_operator_ready_replicas", "Replicas that can take work.", _POOL)
SUCCESS = Gauge("fleet_operator_last_success_timestamp_seconds", "Last decision on known demand, applied.", _POOL)
DECISIONS = Counter("fleet_operator_scale_decisions", "Decisions.", ("task_queue", "direction", "reason"))
LATE = Histogram(
    "fleet_operator_look_lag_seconds",
    "From when a look was due until it began.",
    buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10),
)
OF_TYPE = {
    "backlog": Gauge("fleet_operator_backlog_tasks", "Tasks that wait for a worker.", _TYPE),
    "backlog_age_s": Gauge("fleet_operator_backlog_age_seconds", "Wait of the oldest of them.", _TYPE),
    "stats_age_s": Gauge("fleet_operator_statistics_age_seconds", "Since Temporal was asked for both.", _TYPE),
    "used_slots": Gauge("fleet_operator_used_slots", "Slots in use, in workers that do not drain.", _TYPE),
    "total_slots": Gauge("fleet_operator_capacity_slots", "All slots of these workers.", _TYPE),
}


_series = dict[tuple[Any, ...], Any]()
"""Those that are there, by metric and labels: to look one up in the library costs more than all else of a decision."""


def record(task_queue: str, replicas: tuple[int, int, int], reason: str, types: Mapping[str, object]) -> None:
    """Publish one applied decision.

    `replicas` wanted from now on, wanted before, and ready; `types`: objects with the attributes of OF_TYPE, by task
    type, where None is unknown.
    """
    desired, current, _ = replicas
    for gauge, count in zip((DESIRED, CURRENT, READY), replicas, strict=True):
        _child(gauge, task_queue).set(count)
    direction = "up" if desired > current else "down" if desired < current else "none"
    _child(DECISIONS, task_queue, direction, reason).inc()
    for task_type, demand in types.items():
        known: dict[str, float] = {name: n for name in OF_TYPE if (n := getattr(demand, name)) is not None}
        for name in OF_TYPE.keys() - known.keys():
            if _series.pop((OF_TYPE[name], task_queue, task_type), None):
                OF_TYPE[name].remove(task_queue, task_type)
        for name, value in known.items():
            _child(OF_TYPE[name], task_queue, task_type).set(value)
        if known:
            _child(SUCCESS, task_queue).set(time.time())


def forget(task_queue: str) -> None:
    """Remove the series of a pool that is gone, lest its last success look like a hanging loop."""
    for metric, queue, *others in [key for key in _series if key[1] == task_queue]:
        metric.remove(queue, *others)
        del _series[metric, queue, *others]


def _child(metric: Any, *labels: str) -> Any:
    if (child := _series.get((metric, *labels))) is None:
        child = _series[metric, *labels] = metric.labels(*labels)
    return child
