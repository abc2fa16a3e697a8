"""What one decision leaves for the next: how busy the slots were, how long tasks take, what was needed of late.

All in the time of `now`, so that a restarted autoscaler begins with an empty one and shrinks nothing until it has seen
a window of its own. Rejected: memories in the status of an object (a look would then be a write).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.scaling.demand import Demand, TypeDemand
    from app.scaling.policy import Policy

LASTING_S = 15.0  # slots that were in use for less (or for less than two max_wait_s) may just be clearing a burst
TAKEN_IN_S = 35.0  # after Temporal failed to answer, a rise may be its own: what was added in the 30 s before, again
CACHED_S = 6.0  # the server's statistics are up to 5 s old
NEAR_S = 6.0  # slots that were in use longer ago say nothing of what ended since
DOUBT_S = 120.0  # so long that is not believed
BLIND_S = 120.0  # without a decision: two of the longest poll_s
LONGEST_S = 3600.0  # a service time beyond it is an hour: its tasks seldom end, and the old ones fade
KEEP = 0.9  # weight of the past in the service time: an average over about ten samples


@dataclass(frozen=True)
class TypeMemory:
    """The past of one task type."""

    used: tuple[tuple[float, int], ...] = ()  # (time, used slots), rising: the first is the least of LASTING_S
    counted: int = 0  # tasks that wait
    doubted: int = 0  # of them
    counted_at: float = -math.inf
    replicas: int = 0  # wanted then, or fewer since: those that came on top are the answer to it
    oldest_at: float = -math.inf  # began to wait, and
    oldest_since: float = math.inf  # has been the oldest
    slots: float = 0.0  # in use, and
    tasks: float = 0.0  # ended a second: decaying sums

    @property
    def service_s(self) -> float | None:
        """Seconds that a task holds its slot (Little's law); None until one has ended."""
        return self.slots / self.tasks if self.tasks > 0 else None


@dataclass(frozen=True)
class Memory:
    """What one decision leaves for the next, in the time of `now`; a new pool starts with `Memory()`."""

    types: Mapping[str, TypeMemory] = field(default_factory=dict)
    needs: tuple[tuple[float, int], ...] = ()  # (time, need), falling: the first is the most of the window
    staffed_since: float = math.inf  # as many workers as are wanted have been at work
    workers: int = 0  # at work last
    missing_since: float = math.inf  # fewer than are wanted, and no new one
    failed_at: float = -math.inf  # Temporal did not answer
    calm_since: float = math.inf  # nothing has waited or run
    shrunk_at: float = -math.inf
    asks: bool = False  # only the age of the statistics stood in the way of fewer replicas


def learn(policy: Policy, demand: Demand, memory: Memory, now: float, current: int) -> Memory:
    """`memory` with what a look at `now` has shown."""
    since = now - max(LASTING_S, 2 * policy.max_wait_s)
    heard, workers = all(t.used_slots is not None for t in demand.types), len(demand.running)
    # A server may never tell of its workers; to hear no more of them is a failure. What it was not asked is none.
    deaf = not heard and any(past.used for past in memory.types.values())
    failed = deaf or any(t.backlog is None and t.stats_age_s is not None for t in demand.types)
    types, failed_at = dict(memory.types), now if failed else memory.failed_at
    for t in demand.types:
        past = _believe(t, types.get(t.task_type, TypeMemory()), now, failed_at, current)
        if t.used_slots is not None:
            lower = (u for u in past.used if u[0] > since and u[1] < t.used_slots)
            near = [t.used_slots, *(used for at, used in past.used[-1:] if now - at < NEAR_S)]
            past = replace(past, used=(*lower, (now, t.used_slots)))
            if t.processed_per_s is not None and (size := max(held := sum(near) / len(near), t.processed_per_s)) > 0:
                # Each sample weighs the same: 100 slots that have just filled up have ended nothing yet.
                slots, tasks = past.slots * KEEP + held / size, past.tasks * KEEP + t.processed_per_s / size
                past = replace(past, slots=slots, tasks=max(tasks, slots / LONGEST_S if past.tasks else 0.0))
        types[t.task_type] = past
    new = workers > memory.workers or memory.missing_since == math.inf
    calm = demand.calm and (current == 0 or workers > 0)
    # Without heartbeats nobody can tell who is at work; then the time since the last growth has to do.
    staffed_since = min(memory.staffed_since, now) if current and (workers >= current or not heard) else math.inf
    missing_since = (now if new else memory.missing_since) if heard and workers < current else math.inf
    calm_since = min(now if gone(memory, now) else memory.calm_since, now) if calm else math.inf
    memory = replace(memory, types=types, failed_at=failed_at, workers=workers)
    return replace(memory, staffed_since=staffed_since, missing_since=missing_since, calm_since=calm_since)


def _believe(t: TypeDemand, past: TypeMemory, now: float, failed_at: float, current: int) -> TypeMemory:
    counted_at = now - (t.stats_age_s or 0.0)
    if t.backlog is None or counted_at <= past.counted_at + 1:  # the same answer, but for the delays of decisions
        return replace(past, replicas=min(past.replicas, current))
    # A server that restarts takes in again what it had not noted as done: 200 that wait become 400, and so the rates.
    # They stay 200 until that wears off. A count may be 75 s old (CALM_S); what came since an older one is real.
    since_s = counted_at - failed_at
    came = t.backlog - past.counted if since_s < TAKEN_IN_S and now - past.counted_at < TAKEN_IN_S + 75 else 0
    doubted = max(0, min(past.doubted + max(0, came), t.backlog - 1)) if since_s < DOUBT_S else 0
    past = replace(past, counted=t.backlog, doubted=doubted, counted_at=counted_at, replicas=current)
    oldest_at = counted_at - (t.backlog_age_s or 0.0)
    same = abs(oldest_at - past.oldest_at) <= CACHED_S
    return past if same else replace(past, oldest_at=oldest_at, oldest_since=counted_at)


def remember(policy: Policy, memory: Memory, need: int, now: float, current: int) -> tuple[tuple[float, int], ...]:
    """The needs of the window with this one: `Memory.needs`."""
    # A new autoscaler has seen nothing of the last 300 s: what it finds counts as needed, or each restart would shrink.
    past = memory.needs if not gone(memory, now) else ((now, current),)
    higher = (n for n in past if n[0] > now - policy.stabilization_window_s and n[1] > need)
    return (*higher, (now, need))


def gone(memory: Memory, now: float) -> bool:
    """Whether nothing was decided for so long that what came and went meanwhile is not known."""
    return not memory.needs or now - memory.needs[-1][0] > BLIND_S
