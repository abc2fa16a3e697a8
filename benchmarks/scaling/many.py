"""1,000 queues with a Zipf load in one Temporal namespace: one autoscaler, one budget of requests for all of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from benchmarks.scaling.bound import bound
from benchmarks.scaling.loop import Loop
from benchmarks.scaling.ours import Operator
from benchmarks.scaling.parts import ORDINARY, Cluster
from benchmarks.scaling.run import DAY_S, OURS, SCALERS, all_waits, quantile, queue_of, reversals
from benchmarks.scaling.scenario import Scenario
from benchmarks.scaling.signals import Server
from benchmarks.scaling.work import ACTIVITY, WORKFLOW, Job, lognormal, poisson, workflows
from benchmarks.scaling.world import Queue

_STATES = 20_000  # of each queue's bound


@dataclass(frozen=True)
class Many:
    """`rate` workflows a second over all queues, the k-th of which gets a share of 1 / k ** `exponent`."""

    rate: float
    exponent: float
    task_s: float
    queues: int = 1000
    horizon_s: float = 900.0
    cluster: Cluster = ORDINARY
    name: str = "1,000 queues"
    max_wait_s: float = 5.0

    def scenarios(self) -> list[Scenario]:
        """One for each queue."""
        weights = [1 / k**self.exponent for k in range(1, self.queues + 1)]
        shares = [self.rate * weight / sum(weights) for weight in weights]
        return [dataclasses.replace(self._queue(share), name=f"q{k}") for k, share in enumerate(shares)]

    def _queue(self, rate: float) -> Scenario:
        def load(rng: Random) -> list[Job]:
            return workflows(rng, poisson(rng, lambda _: rate, rate, self.horizon_s), lognormal(self.task_s))

        kinds = (WORKFLOW, ACTIVITY)
        return Scenario("", self.horizon_s, load, kinds, min_replicas=0, initial=0, cluster=self.cluster)


def compare(
    many: Many, seed: int, names: list[str], least: float | None = None
) -> tuple[float, dict[str, dict[str, float]]]:
    """The bound, if it is not known as `least`, and the figures of each scaler."""
    loads = [(scenario, scenario.jobs(seed)) for scenario in many.scenarios()]
    if least is None:
        least = sum(bound(jobs, scenario.limits(), many.horizon_s, _STATES) for scenario, jobs in loads if jobs)
    return least, {name: _figures(list(_run(loads, name, seed)), many) for name in names}


def _run(loads: list[tuple[Scenario, list[Job]]], name: str, seed: int) -> Iterator[Queue]:
    loop, rng = Loop(), Random(f"scaler {seed}")
    operator, queues = Operator(rng), []
    for number, (scenario, jobs) in enumerate(loads):
        queue = queue_of(scenario, loop, seed * 1000 + number)
        server = Server(queue)
        queue.scale(scenario.initial, ready=True)
        queue.feed(jobs)
        if name == OURS:
            operator.watch(queue, server, scenario.our_policy())
        else:
            SCALERS[name](scenario, jobs).attach(queue, server, rng)
        queues.append(queue)
    loop.run(loads[0][0].horizon_s)
    yield from queues


def _figures(queues: list[Queue], many: Many) -> dict[str, float]:
    waits = sorted(wait for queue in queues for wait in all_waits(queue))
    return {
        "tasks": len(waits),
        "p50": round(quantile(waits, 0.50), 3),
        "p95": round(quantile(waits, 0.95), 3),
        "p99": round(quantile(waits, 0.99), 3),
        "late": round(sum(wait > many.max_wait_s for wait in waits) / len(waits), 5),
        "replica_s": round(sum(queue.replica_seconds() for queue in queues), 1),
        "reversals_a_day": round(
            sum(reversals(queue.changes) for queue in queues) / len(queues) * DAY_S / many.horizon_s, 1
        ),
        "most": sum(max((n for _, n in queue.changes), default=0) for queue in queues),
        "cut": sum(queue.cuts for queue in queues),
        "calls_a_minute": round(sum(queue.calls for queue in queues) * 60 / many.horizon_s / len(queues), 3),
        "shared_calls_a_minute": round(sum(queue.shared_calls for queue in queues) * 60 / many.horizon_s, 2),
    }
