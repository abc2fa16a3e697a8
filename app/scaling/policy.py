"""Decides how many replicas one task queue gets: a pure function of demand, memory and time, without I/O or a clock.

Its steps run in one order, need -> brakes -> floor -> ceiling -> window and step -> zero. Each hands on the number with
its reason, so that the reason a user reads is that of the last step that changed something. Growth is one jump, since
waiting work is late already; shrinking is slow, since each pod taken away costs work. Rejected: backlog as the only
signal (a busy queue reads 0 and loses its pods), a target ratio in the place of an objective in seconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from app.core.policy import Policy as Policy
from app.scaling.memory import Memory, learn, remember

if TYPE_CHECKING:
    from app.scaling.demand import Demand, TypeDemand

STATISTICS_AGE_S = 5.0  # of the server's, at most: it caches them
STEP_DOWN_EVERY_S = 15.0  # statistics and heartbeats must show what one step did before the next; HPA's period
STUCK_S = 60.0  # twice the span of the server's rates: whatever waits so long beside free slots is not about slots
START_S = 60.0  # without a new worker for so long while some are missing: more replicas would not start either


class Reason(StrEnum):
    """Why a queue has the replicas it has; the set is closed."""

    SLOTS_BUSY = "SlotsBusy"  # the slots in use decide
    BACKLOG_WAITING = "BacklogWaiting"  # the waiting work decides
    WAIT_TOO_LONG = "WaitTooLong"  # the oldest task waits longer than max_wait_s: not fewer, and in time one more
    WAKE_UP = "WakeUp"  # from 0, because work came
    RATE_LIMITED = "RateLimited"  # not more, because a rate limit holds the tasks back
    NOT_DISPATCHING = "NotDispatching"  # not more, because tasks wait beside idle workers
    NOT_STARTING = "NotStarting"  # not more, because those that are there do not come to work
    COUNT_IN_DOUBT = "CountInDoubt"  # more are counted than came: a server that restarts counts twice
    WORK_IN_HAND = "WorkInHand"  # not fewer, because of what the replicas have in hand
    AT_MINIMUM = "AtMinimum"  # fewer would do
    AT_MAXIMUM = "AtMaximum"  # more are needed
    STABILIZING = "Stabilizing"  # fewer would do, but not for long enough yet
    DEMAND_FELL = "DemandFell"  # a step down
    LAST_REPLICA = "LastReplica"  # nothing to do, but not for idle_s yet
    IDLE = "Idle"  # nothing to do: 0 replicas
    DEMAND_UNKNOWN = "DemandUnknown"  # not fewer, because demand is not fully known


@dataclass(frozen=True)
class Decision:
    """Replicas wanted from now on, and why."""

    replicas: int
    reason: Reason
    message: str
    memory: Memory


@dataclass(frozen=True)
class _Want:
    replicas: int
    reason: Reason
    text: str
    asks: bool = False

    def instead(self, replicas: int, reason: Reason, text: str) -> _Want:
        return _Want(replicas, reason, f"{self.text}; {text}")


def decide(policy: Policy, demand: Demand | None, memory: Memory, now: float, current: int) -> Decision:
    """Replicas for a queue of which `current` are wanted at `now` (monotonic seconds). demand None: no fresh answer."""
    if demand is None or demand.known == "None":
        return _hold(policy, demand, memory, now, current)
    memory = learn(policy, demand, memory, now, current)
    wants = [_brake(policy, t, memory, now, current, _need(policy, t, memory)) for t in demand.types]
    want = _woken(demand, current, max(wants, key=lambda w: w.replicas))
    want = _ceiling(policy, _floor(policy, demand, current, _missing(memory, now, current, want)))
    need = want.replicas if demand.running else max(want.replicas, current)  # of nobody nothing is known
    memory = replace(memory, needs=remember(policy, memory, need, now, current))
    want = _zero(policy, demand, memory, now, current, _settle(policy, demand, memory, now, current, want))
    staffed_since = math.inf if want.replicas > current else memory.staffed_since
    shrunk_at = now if want.replicas < current else memory.shrunk_at
    memory = replace(memory, staffed_since=staffed_since, shrunk_at=shrunk_at, asks=want.asks)
    return Decision(want.replicas, want.reason, want.text, memory)


def _hold(policy: Policy, demand: Demand | None, memory: Memory, now: float, current: int) -> Decision:
    kept = max(current, policy.min_replicas)
    needs = remember(policy, memory, kept, now, current)  # not knowing counts as needing what is there
    memory = replace(memory, needs=needs, failed_at=now, calm_since=math.inf, staffed_since=math.inf)
    memory = replace(memory, missing_since=math.inf, asks=False)
    want = _Want(kept, Reason.DEMAND_UNKNOWN, f"{demand.problem if demand else 'no fresh answer'}: {kept} stay")
    want = _ceiling(policy, _woken(demand, kept, want) if demand else want)
    return Decision(want.replicas, want.reason, want.text, memory)


def _need(policy: Policy, t: TypeDemand, memory: Memory) -> _Want:
    past, slots = memory.types[t.task_type], policy.slots_per_replica
    backlog = past.counted - past.doubted if t.fresh else 0
    # 12 replicas of 10 slots clear a burst, all 120 in use: 80 % of 15 replicas would be asked for just as it ends.
    # What was in use all the last 15 s is the steady load; the burst is counted once, by its backlog.
    steady = past.used[0][1] if past.used and t.used_slots is not None else 0
    busy = steady / (slots * policy.utilization / 100)
    if past.service_s is None:
        waiting, each = backlog / policy.backlog_per_replica, f"{policy.backlog_per_replica} a replica"
    else:
        # 190 tasks of 0.9 s within 5 s: 34.2 slots. 190 tasks of an hour: not 136800 slots, but one each.
        waiting = backlog * min(1.0, past.service_s / policy.max_wait_s) / slots
        each = f"{round(past.service_s, 2):g} s each, to be cleared within {policy.max_wait_s:g} s"
    # Most workflow tasks last milliseconds: 16 in hand at one look are no reason for a second pod of 10 slots.
    held = steady if t.task_type == "workflow" else t.used_slots or 0
    # A workflow task of 1 ms asks for 0.0002 slots, and still for somebody to run it.
    want = max(math.ceil(busy + waiting - 1e-9), math.ceil(held / slots), min(backlog, 1))
    if backlog and past.doubted:
        text = f"{past.counted} {t.task_type} tasks are counted, {past.doubted} of them since Temporal failed"
        return _Want(want, Reason.COUNT_IN_DOUBT, f"{text}: needs {want}")
    if backlog:
        return _Want(want, Reason.BACKLOG_WAITING, f"{backlog} {t.task_type} tasks wait, {each}: needs {want}")
    text = f"{t.used_slots} {t.task_type} slots are in use, {steady} steadily: needs {want} at {policy.utilization} %"
    return _Want(want, Reason.SLOTS_BUSY, text if t.used_slots else "nothing is known to wait or run")


def _brake(policy: Policy, t: TypeDemand, memory: Memory, now: float, current: int, want: _Want) -> _Want:
    past, allowed = memory.types[t.task_type], max(current, 1)  # a limit may slow a queue down, not put it to sleep
    backlog, age_s, staffed_s = t.fresh and t.backlog, t.backlog_age_s or 0.0, now - memory.staffed_since
    # 40 wait for a handler that no worker has: 9 of 10 slots are free, and none is dispatched, or others but not they.
    free = t.used_slots is not None and (t.used_slots < (t.total_slots or 0) or not t.total_slots)
    passed_by = now - past.oldest_since >= STUCK_S
    stuck = free and not t.rate_limited and (passed_by or (t.dispatch_rate == 0 and not t.processed_per_s))
    if backlog and stuck and min(age_s, staffed_s) >= STUCK_S:
        running = max(_need(policy, replace(t, stats_age_s=math.inf), memory).replicas, 1)
        return want.instead(running, Reason.NOT_DISPATCHING, "none is taken though slots are free: a handler missing?")
    # A pod that starts in 20 s lets the oldest task wait 20 s: one more at each look would be ten too many, so the
    # replicas there are get max_wait_s of work first, and the statistics the time to show it.
    if backlog and not stuck and want.replicas <= current and age_s > policy.max_wait_s:
        least = current + (staffed_s - STATISTICS_AGE_S > policy.max_wait_s)
        want = want.instead(least, Reason.WAIT_TOO_LONG, f"the oldest for {age_s:.0f} s: at least {least}")
    if t.rate_limited and want.replicas > allowed:
        want = want.instead(allowed, Reason.RATE_LIMITED, f"a rate limit is at work: not more than {allowed}")
    if backlog and min(want.replicas, policy.max_replicas) > current > past.replicas:
        want = want.instead(current, want.reason, f"not more than {current} until they are counted anew")
    return want


def _woken(demand: Demand, current: int, want: _Want) -> _Want:
    waits = not current and any(t.backlog for t in demand.types)  # told of long ago, when it sleeps all the same
    why = "a workflow was started" if demand.woken else "work has waited"
    return _Want(1, Reason.WAKE_UP, why) if (demand.woken or waits) and not want.replicas else want


def _missing(memory: Memory, now: float, current: int, want: _Want) -> _Want:
    if want.replicas <= current or (waited_s := now - memory.missing_since) < START_S:
        return want
    text = f"{memory.workers} of {current} are at work, no new one for {waited_s:.0f} s: not more than {current}"
    return want.instead(current, Reason.NOT_STARTING, text)


def _floor(policy: Policy, demand: Demand, current: int, want: _Want) -> _Want:
    # 25 slots in use, 10 a replica: that fits on 3. Five replicas with one long activity each: all 5 stay.
    fits = {t.task_type: math.ceil((t.used_slots or 0) / policy.slots_per_replica) for t in demand.types}
    busy = sum(w.used_slots > 0 for w in demand.running) if policy.long_activities else 0
    # Workflow tasks keep what is there, for they may run local activities, and ask for no more.
    floor = max(fits.get("activity", 0), min(fits.get("workflow", 0), max(current, 1)), busy)
    if want.replicas < floor:
        want = want.instead(floor, Reason.WORK_IN_HAND, f"{floor} to hold the work in hand")
    if want.replicas < policy.min_replicas:
        want = want.instead(policy.min_replicas, Reason.AT_MINIMUM, f"minimum is {policy.min_replicas}")
    return want


def _ceiling(policy: Policy, want: _Want) -> _Want:
    most = policy.max_replicas
    return want if want.replicas <= most else want.instead(most, Reason.AT_MAXIMUM, f"maximum is {most}")


def _settle(policy: Policy, demand: Demand, memory: Memory, now: float, current: int, want: _Want) -> _Want:
    # 10 replicas and a maximum lowered to 4: 4 at once. A maximum is an order and waits for no evidence.
    most, window_s = policy.max_replicas, policy.stabilization_window_s
    if current > most and want.reason is not Reason.AT_MAXIMUM:
        return want.instead(most, Reason.AT_MAXIMUM, f"maximum is {most}")
    if want.replicas >= min(current, most):
        return want
    if demand.known != "Full" or not demand.running:
        why = demand.problem or ("statistics are still to come" if demand.running else "no worker has reported")
        return want.instead(current, Reason.DEMAND_UNKNOWN, f"{why}: {current} stay")
    # 20 replicas at 25 %: 15, 12, 9, 7, 6, 5, 4, and from there one by one, where 25 % is less than a replica.
    # Of 5 replicas 2 have not reported: they may be as busy as can be.
    least = max(want.replicas, memory.needs[0][1], current - len(demand.running))
    lowest = max(least, current - max(1, current * policy.max_percent // 100))
    due = now - memory.shrunk_at >= min(STEP_DOWN_EVERY_S, window_s)
    if lowest < current and due and (leaving := len(demand.workers) - len(demand.running)):
        return want.instead(current, Reason.STABILIZING, f"{current} stay while {leaving} workers still leave")
    if lowest < current and due and demand.fresh:
        return want.instead(lowest, Reason.DEMAND_FELL, f"one step down from {current} to {lowest}")
    text = f"{current} stay until that has lasted {window_s:g} s"
    return replace(want.instead(current, Reason.STABILIZING, text), asks=lowest < current and due)


def _zero(policy: Policy, demand: Demand, memory: Memory, now: float, current: int, want: _Want) -> _Want:
    if policy.min_replicas > 0 or policy.max_replicas == 0:
        return want
    if current == 0:
        asleep = Reason.IDLE if demand.known == "Full" else Reason.DEMAND_UNKNOWN
        return replace(want, reason=Reason.WAKE_UP if want.replicas else asleep)
    # The window keeps the others; the last one is kept by idle_s alone, or an idle_s of 5 would mean 300.
    rested = current == 1 and memory.calm_since <= now - policy.idle_s
    if rested and demand.fresh:
        return _Want(0, Reason.IDLE, f"nothing has waited or run for {now - memory.calm_since:.0f} s")
    if want.replicas == 0 or (current == 1 and want.reason is Reason.STABILIZING):
        text = f"nothing waits or runs: the last replica leaves when it was so for {policy.idle_s:g} s"
        return _Want(1, Reason.LAST_REPLICA if current == 1 else Reason.DEMAND_FELL, text, asks=rested)
    return want
