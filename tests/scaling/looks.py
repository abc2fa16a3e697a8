"""What the tests of the policy share: a policy, demands made by hand, and looks one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from app.scaling.demand import Demand, TypeDemand, WorkerLoad
from app.scaling.fleet import Pool
from app.scaling.memory import Memory, TypeMemory
from app.scaling.policy import Decision, Policy, decide

POLL_S = 2.0
POLICY = Policy(
    task_queue="orders",
    min_replicas=1,
    max_replicas=20,
    slots_per_replica=10,
    max_wait_s=5,
    utilization=80,
    backlog_per_replica=20,
    idle_s=600,
    stabilization_window_s=300,
    max_percent=25,
    long_activities=False,
)
SLEEPY = replace(POLICY, min_replicas=0)
SECOND_TASKS = Memory(types={"activity": TypeMemory(slots=9, tasks=9)})
"""A memory that knows: an activity takes 1 s."""


def pool_of(task_queue: str, *task_types: str, replicas: int = 0, slots: int = 10) -> Pool:
    """A pool that does nothing unusual, named like its queue."""
    policy = replace(POLICY, task_queue=task_queue, slots_per_replica=slots)
    return Pool(task_queue, policy, task_types or ("workflow", "activity"), replicas, ready=replicas)


def seen(
    backlog: int | None = 0,
    used: int | None = 0,
    *,
    workers: int = 1,
    age_s: float = 0,
    add: float = 0,
    dispatched: float = 0,
    done: float | None = None,
    limited: bool = False,
    draining: int = 0,
    kind: str = "activity",
    stats_age_s: float | None = 0,
    woken: bool = False,
) -> Demand:
    """Demand of one task type, its used slots dealt out to the workers; `draining`: more of them, one slot each."""
    held = [len(range(i, used or 0, workers)) for i in range(workers)]
    loads = [WorkerLoad(f"pod-{i}", each, 10, draining=False, heartbeat_age_s=0.5) for i, each in enumerate(held)]
    loads += [WorkerLoad(f"leaving-{i}", 1, 10, draining=True, heartbeat_age_s=0.5) for i in range(draining)]
    one = TypeDemand(
        kind,
        backlog=backlog,
        backlog_age_s=None if backlog is None else age_s,
        add_rate=None if backlog is None else add,
        dispatch_rate=None if backlog is None else dispatched,
        rate_limited=limited,
        used_slots=used,
        total_slots=None if used is None else workers * 10,
        processed_per_s=done,
        stats_age_s=stats_age_s,
    )
    problem = "a call failed" if None in (backlog, used) else ""
    return Demand("orders", (one,), () if used is None else tuple(loads), problem, woken)


def once(demand: Demand | None, current: int, policy: Policy = POLICY, memory: Memory | None = None) -> Decision:
    """One decision at second 1000."""
    return decide(policy, demand, memory or Memory(), 1000.0, current)


def live(
    demand: Demand | Callable[[int], Demand | None] | None,
    current: int,
    seconds: float,
    policy: Policy = POLICY,
    memory: Memory | None = None,
    start: float = 1000.0,
) -> list[Decision]:
    """A decision every two seconds, each from the replicas decided before; `demand` may depend on their number."""
    memory, decisions, now = memory or Memory(), [], start
    while now <= start + seconds:
        decision = decide(policy, demand(current) if callable(demand) else demand, memory, now, current)
        memory, current, now = decision.memory, decision.replicas, now + POLL_S
        decisions.append(decision)
    return decisions


def replicas(decisions: Iterable[Decision]) -> list[int]:
    """The numbers decided, repetitions left out."""
    numbers: list[int] = []
    for decision in decisions:
        if numbers[-1:] != [decision.replicas]:
            numbers.append(decision.replicas)
    return numbers
