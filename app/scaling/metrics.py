"""The autoscaler's own metrics. What is unknown has no series: a 0 would look like a calm queue, a NaN spoil every sum.

The last success is a time, not an age: it ages on when the loop hangs. Rejected: one gauge of replicas with a `state`.
"""

from __future__ import annotations

import time

from prometheus_client import Counter, Gauge

from app.scaling.demand import Demand, TypeDemand
from app.scaling.fleet import Pool
from app.scaling.policy import Decision

_POOL, _TYPE = ("task_queue",), ("task_queue", "task_type")
DESIRED = Gauge("fleet_operator_desired_replicas", "Replicas that the last decision wants.", _POOL)
CURRENT = Gauge("fleet_operator_current_replicas", "Replicas that were wanted before it.", _POOL)
READY = Gauge("fleet_operator_ready_replicas", "Replicas that can take work.", _POOL)
SUCCESS = Gauge("fleet_operator_last_success_timestamp_seconds", "Last decision on known demand, applied.", _POOL)
DECISIONS = Counter("fleet_operator_scale_decisions", "Decisions.", ("task_queue", "direction", "reason"))
OF_TYPE = {
    "backlog": Gauge("fleet_operator_backlog_tasks", "Tasks that wait for a worker.", _TYPE),
    "backlog_age_s": Gauge("fleet_operator_backlog_age_seconds", "Wait of the oldest of them.", _TYPE),
    "used_slots": Gauge("fleet_operator_used_slots", "Slots in use, in workers that do not drain.", _TYPE),
    "total_slots": Gauge("fleet_operator_capacity_slots", "All slots of these workers.", _TYPE),
}


def record(pool: Pool, demand: Demand | None, decision: Decision) -> None:
    """Publish one applied decision."""
    queue, change = pool.policy.task_queue, decision.replicas - pool.replicas
    for gauge, count in ((DESIRED, decision.replicas), (CURRENT, pool.replicas), (READY, pool.ready)):
        gauge.labels(queue).set(count)
    DECISIONS.labels(queue, "up" if change > 0 else "down" if change < 0 else "none", decision.reason.value).inc()
    if demand and demand.known != "None":
        SUCCESS.labels(queue).set(time.time())
    for t in demand.types if demand else [TypeDemand(kind) for kind in pool.task_types]:
        for name, gauge in OF_TYPE.items():
            value: float | None = getattr(t, name)
            if value is None:
                gauge.remove(queue, t.task_type)
            else:
                gauge.labels(queue, t.task_type).set(value)


def forget(pool: Pool) -> None:
    """Remove the series of a pool that is gone, lest its last success look like a hanging loop."""
    for metric in (DESIRED, CURRENT, READY, SUCCESS, DECISIONS, *OF_TYPE.values()):
        metric.remove_by_labels({"task_queue": pool.policy.task_queue})
