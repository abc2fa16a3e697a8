"""A queue in simulated time: arrivals, pods that take time to start, and signals as old as the real ones.

Temporal's statistics are cached for 5 s and a worker tells its slots every 2 s; a policy that is right on fresh numbers
and wrong on these would be of no use.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from app.scaling.demand import Demand, TypeDemand, WorkerLoad
from app.scaling.memory import Memory
from app.scaling.policy import Policy, Reason, decide

STEP_S = 0.1
CACHE_S = 5.0
HEARTBEAT_S = 2.0
POLL_S = 2.0


class Change(NamedTuple):
    """A decision that changed the replicas, and how many tasks were really waiting then."""

    at: float
    before: int
    after: int
    reason: Reason
    waiting: int


@dataclass
class Pod:
    """One worker; `ends` are the ends of its tasks in hand."""

    up_at: float
    ends: list[float] = field(default_factory=list)
    told_at: float | None = None
    told_used: int = 0
    told_rate: float | None = None
    ended: int = 0

    def tell(self, now: float) -> None:
        if self.told_at is None or now - self.told_at >= HEARTBEAT_S:
            self.told_rate = None if self.told_at is None else self.ended / (now - self.told_at)
            self.told_used, self.told_at, self.ended = len(self.ends), now, 0


def simulate(
    policy: Policy,
    arrivals: Sequence[float],
    task_s: float,
    *,
    until: float,
    current: int = 1,
    start_s: float = 3.0,
    memory: Memory | None = None,
    first_look: float = 0.0,
) -> tuple[list[Change], list[float]]:
    """The changes, and each task's wait for a slot in seconds."""
    memory = memory or Memory()
    pods, waiting, waits, changes = [Pod(-10.0) for _ in range(current)], list[float](), list[float](), list[Change]()
    to_come, cached, cached_at, look_at = sorted(arrivals), (0, 0.0, 0.0), -CACHE_S, first_look
    for step in range(round(until / STEP_S)):
        now = step * STEP_S
        while to_come and to_come[0] <= now:
            waiting.append(to_come.pop(0))
        up = [pod for pod in pods if pod.up_at <= now]
        for pod in up:
            pod.ended += sum(end <= now for end in pod.ends)
            pod.ends = [end for end in pod.ends if end > now]
            while waiting and len(pod.ends) < policy.slots_per_replica:
                waits.append(now - waiting.pop(0))
                pod.ends.append(now + task_s)
            pod.tell(now)
        if now < look_at:
            continue
        look_at += POLL_S
        if now - cached_at >= CACHE_S:
            added = sum(now - 30 < arrival <= now for arrival in arrivals) / 30
            cached, cached_at = (len(waiting), now - waiting[0] if waiting else 0.0, added), now
        decision = decide(policy, _demand(policy, up, cached, now - cached_at), memory, now, current)
        memory = decision.memory
        if decision.replicas != current:
            changes.append(Change(now, current, decision.replicas, decision.reason, len(waiting)))
        pods.sort(key=lambda pod: len(pod.ends), reverse=True)
        del pods[decision.replicas :]
        pods += [Pod(now + start_s) for _ in range(decision.replicas - len(pods))]
        current = decision.replicas
    return changes, waits


def _demand(policy: Policy, up: list[Pod], cached: tuple[int, float, float], stats_age_s: float) -> Demand:
    rates = [pod.told_rate for pod in up if pod.told_rate is not None]
    one = TypeDemand(
        "activity",
        backlog=cached[0],
        backlog_age_s=cached[1],
        add_rate=cached[2],
        dispatch_rate=1.0,
        stats_age_s=stats_age_s,
        used_slots=sum(pod.told_used for pod in up),
        total_slots=policy.slots_per_replica * len(up),
        processed_per_s=sum(rates) if up and len(rates) == len(up) else None,
    )
    loads = tuple(WorkerLoad(f"pod-{i}", pod.told_used, policy.slots_per_replica, False, 0) for i, pod in enumerate(up))
    return Demand(policy.task_queue, (one,), loads)
