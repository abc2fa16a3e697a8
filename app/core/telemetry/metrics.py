"""The autoscaler's own metrics. What is unknown has no series: a 0 would look like a calm queue, a NaN spoil every sum.

The last success is a time, not an age: it ages on when the loop hangs. Series are made when somebody asks for them: for
a thousand pools the library would keep 15,000 objects, to be set at each look. Rejected: one gauge of replicas with a
`state`.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import REGISTRY, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

LATE = Histogram(
    "fleet_operator_look_lag_seconds",
    "From when a look was due until it began.",
    buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10),
)
_PREFIX, _POOL, _TYPE = "fleet_operator", ("task_queue",), ("task_queue", "task_type")
_REPLICAS = {
    "desired_replicas": "Replicas that are wanted since the last decision.",
    "current_replicas": "Replicas that were wanted before it.",
    "ready_replicas": "Replicas that can take work.",
}
_OF_TYPE = {
    "backlog": ("backlog_tasks", "Tasks that wait for a worker."),
    "backlog_age_s": ("backlog_age_seconds", "Wait of the oldest of them."),
    "stats_age_s": ("statistics_age_seconds", "Since Temporal was asked for both."),
    "used_slots": ("used_slots", "Slots in use, in workers that do not drain."),
    "total_slots": ("capacity_slots", "All slots of these workers."),
}


@dataclass(slots=True)
class _Pool:
    replicas: tuple[int, int, int] = (0, 0, 0)
    types: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)
    succeeded_at: float | None = None
    decisions: Counter[tuple[str, str]] = field(default_factory=Counter)
    decided_at: float = 0.0

    def succeed(self) -> None:
        if any(value is not None for values in self.types.values() for value in values):
            self.succeeded_at = time.time()


_pools = dict[str, _Pool]()


def record(task_queue: str, replicas: tuple[int, int, int], reason: str, types: Iterable[Any]) -> None:
    """Publish one applied decision.

    `replicas` wanted from now on, wanted before, and ready; `types`: objects with a task_type and the attributes of
    _OF_TYPE, where None is unknown.
    """
    pool = _pools.setdefault(task_queue, _Pool())
    desired, current, _ = pool.replicas = replicas
    pool.types = {each.task_type: tuple(getattr(each, name) for name in _OF_TYPE) for each in types}
    pool.decisions["up" if desired > current else "down" if desired < current else "none", reason] += 1
    pool.decided_at = time.time()
    pool.succeed()


def repeat(task_queue: str, reason: str) -> None:
    """Publish once more that nothing changes, as nothing new is known."""
    # Another pool of the same task queue may have taken the series with it.
    if pool := _pools.get(task_queue):
        pool.decisions["none", reason] += 1
        pool.succeed()


def forget(task_queue: str) -> None:
    """Remove the series of a pool that is gone, lest its last success look like a hanging loop."""
    _pools.pop(task_queue, None)


class _Decisions(Collector):
    def collect(self) -> Iterator[Metric]:
        # In the thread of whoever asks: each pool's parts are replaced, and not changed, but for the counts.
        pools, now = list(_pools.items()), time.time()
        for place, (name, text) in enumerate(_REPLICAS.items()):
            gauge = GaugeMetricFamily(f"{_PREFIX}_{name}", text, labels=_POOL)
            for queue, pool in pools:
                gauge.add_metric((queue,), pool.replicas[place])
            yield gauge
        for place, (attribute, (name, text)) in enumerate(_OF_TYPE.items()):
            gauge = GaugeMetricFamily(f"{_PREFIX}_{name}", text, labels=_TYPE)
            for queue, pool in pools:
                older_s = now - pool.decided_at if attribute == "stats_age_s" else 0.0
                for kind, values in pool.types.items():
                    if (value := values[place]) is not None:
                        gauge.add_metric((queue, kind), value + older_s)
            yield gauge
        text = "Last decision on known demand, applied."
        success = GaugeMetricFamily(f"{_PREFIX}_last_success_timestamp_seconds", text, labels=_POOL)
        decisions = CounterMetricFamily(
            f"{_PREFIX}_scale_decisions", "Decisions.", labels=("task_queue", "direction", "reason")
        )
        for queue, pool in pools:
            if pool.succeeded_at is not None:
                success.add_metric((queue,), pool.succeeded_at)
            for (direction, reason), count in dict(pool.decisions).items():
                decisions.add_metric((queue, direction, reason), count)
        yield success
        yield decisions


REGISTRY.register(_Decisions())
