"""What is compared: a load with its faults, and the queue that gets it; the loads themselves are in loads.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

from app.scaling.policy import Policy
from benchmarks.scaling.parts import ORDINARY, Cluster
from benchmarks.scaling.search import Limits
from benchmarks.scaling.signals import Server
from benchmarks.scaling.work import ACTIVITY, Job, after_outage
from benchmarks.scaling.world import Queue


@dataclass(frozen=True)
class Scenario:
    """`load(rng)` gives its jobs. `restarts`: (second, how) of the server; `outages`: (second, length)."""

    name: str
    horizon_s: float
    load: Callable[[Random], list[Job]]
    kinds: tuple[str, ...] = (ACTIVITY,)
    slots: int = 10
    min_replicas: int = 1
    max_replicas: int = 30
    initial: int = 1
    max_wait_s: float = 5.0
    cluster: Cluster = ORDINARY
    limit: float = float("inf")
    outages: tuple[tuple[float, float], ...] = ()
    restarts: tuple[tuple[float, Literal["graceful", "kill"]], ...] = ()
    policy: dict[str, Any] = field(default_factory=dict)
    """Of our policy, where it is not the chart's default."""

    def jobs(self, seed: int) -> list[Job]:
        """The load of one seed, in the order of arrival, without what a server out of reach refused."""
        rng = Random(f"{self.name} {seed}")
        jobs = sorted(self.load(rng), key=lambda job: job.arrival)
        for begin, length in self.outages:
            jobs = after_outage(jobs, begin, begin + length, rng)
        return [job for job in jobs if job.arrival < self.horizon_s]

    def faults(self, queue: Queue, server: Server) -> None:
        """Plan what goes wrong."""
        for at, length in self.outages:
            queue.loop.at(at, queue.down, length)
        for at, how in self.restarts:
            queue.loop.at(at, server.restart, how)

    def our_policy(self) -> Policy:
        """The chart's defaults, with the queue's limits."""
        values: dict[str, Any] = {
            "task_queue": self.name,
            "min_replicas": self.min_replicas,
            "max_replicas": self.max_replicas,
            "slots_per_replica": self.slots,
            "max_wait_s": self.max_wait_s,
            "utilization": 80,
            "backlog_per_replica": 50,
            "idle_s": 600.0,
            "stabilization_window_s": 300.0,
            "max_percent": 25,
            "long_activities": False,
        }
        return Policy(**(values | self.policy))

    def limits(self) -> Limits:
        """For the bound."""
        return Limits(
            self.slots,
            self.max_wait_s,
            self.cluster.start_floor_s,
            self.min_replicas,
            self.max_replicas,
            self.initial,
        )

    def peak(self, jobs: list[Job]) -> int:
        """Replicas that hold all tasks in hand at once if none ever waits: what static pods have to be."""
        edges: dict[str, list[tuple[float, int]]] = {kind: [] for kind in self.kinds}
        for job in jobs:
            at = job.arrival
            for stage in job.stages if job.handled else ():
                at += stage.gap_s
                edges[stage.kind] += [(at, 1), (at + stage.service_s, -1)]
                at += stage.service_s
        most = 0
        for changes in edges.values():
            held = 0
            for _, change in sorted(changes):
                most = max(most, held := held + change)
        return max(1, self.min_replicas, min(self.max_replicas, -(-most // self.slots)))
