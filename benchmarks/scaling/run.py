"""One scenario, seed and scaler: what came of it, as plain figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from random import Random

from benchmarks.pace import DEFAULT, Pace
from benchmarks.scaling.hpa import Hpa
from benchmarks.scaling.loop import Loop
from benchmarks.scaling.ours import Operator
from benchmarks.scaling.rivals import CpuHpa, Knative, Scaler, Static, keda_default, keda_tuned
from benchmarks.scaling.scenario import Scenario
from benchmarks.scaling.signals import Server
from benchmarks.scaling.work import Job
from benchmarks.scaling.world import Queue

DAY_S = 86400.0
OURS = "ours"


@dataclass
class Ours:
    """Our autoscaler as a scaler of one queue."""

    scenario: Scenario
    pace: Pace = DEFAULT
    operator: Operator | None = None

    def attach(self, queue: Queue, server: Server, rng: Random) -> None:
        self.operator = Operator(rng, self.pace)
        self.operator.watch(queue, server, self.scenario.our_policy())


SCALERS: Mapping[str, Callable[[Scenario, list[Job]], Scaler]] = {
    OURS: lambda s, _: Ours(s),
    "KEDA": lambda s, _: keda_default(s.min_replicas, s.max_replicas),
    "KEDA tuned": lambda s, _: keda_tuned(s.min_replicas, s.max_replicas),
    "HPA on CPU": lambda s, _: CpuHpa(Hpa(max(1, s.min_replicas), s.max_replicas)),
    "Knative's law": lambda s, _: Knative(s.min_replicas, s.max_replicas),
    "static peak": lambda s, jobs: Static(s.peak(jobs)),
}


def run(scenario: Scenario, jobs: list[Job], name: str, seed: int) -> Queue:
    """The queue at the end of the scenario, scaled by the scaler of that name."""
    return drive(scenario, jobs, SCALERS[name](scenario, jobs), seed)


def drive(scenario: Scenario, jobs: list[Job], scaler: Scaler, seed: int) -> Queue:
    """The same with any scaler."""
    loop = Loop()
    queue = queue_of(scenario, loop, seed)
    server = Server(queue)
    queue.scale(scenario.initial, ready=True)
    queue.changes.clear()
    queue.feed(jobs)
    scenario.faults(queue, server)
    scaler.attach(queue, server, Random(f"scaler {seed}"))
    loop.run(scenario.horizon_s)
    return queue


def queue_of(scenario: Scenario, loop: Loop, seed: int) -> Queue:
    """An empty one."""
    rng = Random(f"pods {seed}")
    return Queue(loop, scenario.name, scenario.kinds, scenario.slots, scenario.cluster, rng, scenario.limit)


def figures(queue: Queue, max_wait_s: float, horizon_s: float) -> dict[str, float]:
    """Waits in seconds, of tasks that ended and of those that are still there; the rest as its name says."""
    waits = all_waits(queue)
    return {
        "tasks": len(waits),
        "p50": round(quantile(waits, 0.50), 3),
        "p95": round(quantile(waits, 0.95), 3),
        "p99": round(quantile(waits, 0.99), 3),
        "late": round(sum(wait > max_wait_s for wait in waits) / len(waits), 5) if waits else 0.0,
        "replica_s": round(queue.replica_seconds(), 1),
        "reversals_a_day": round(reversals(queue.changes) * DAY_S / horizon_s, 1),
        "most": max((replicas for _, replicas in queue.changes), default=queue.wanted),
        "cut": queue.cuts,
        "calls_a_minute": round(queue.calls * 60 / horizon_s, 2),
        "shared_calls_a_minute": round(queue.shared_calls * 60 / horizon_s, 2),
    }


def all_waits(queue: Queue) -> list[float]:
    """Sorted. A task that was cut waited from there until it was begun anew, and what it had done counts as well."""
    now, waits = queue.loop.now, list(queue.waits)
    for task in queue.open:
        in_hand = task.home is not None and task in task.home.hand
        waits.append(task.waited + (0.0 if in_hand else max(0.0, now - task.since)))
    return sorted(waits)


def quantile(values: Sequence[float], share: float) -> float:
    """Of sorted values; 0 of none."""
    return values[min(len(values) - 1, int(share * len(values)))] if values else 0.0


def reversals(changes: Sequence[tuple[float, int]]) -> int:
    """How often replicas went up after they went down, or the other way round."""
    ways = [after[1] > before[1] for before, after in pairwise(changes)]
    return sum(one != other for one, other in pairwise(ways))
