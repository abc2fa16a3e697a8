"""What the policy promises, checked at each decision against what was known or suspected then, and not with its words.

Only the numbers of the looks are used here: not `Demand.calm`, `known` or `fresh`, not the policy's memory. A look with
something missing is a suspicion, and so is time in which nobody looked. The chain of beliefs is forgotten when the
autoscaler restarts, as its memory is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from app.scaling.policy import Policy, Reason
from tests.scaling.told import Look

LAG_S = 0.1  # from a look to its decision, at most
NEW_S = 12.0 + LAG_S  # statistics that are older change no replicas
STEP_S = 15.0  # between two steps down
AGAIN_S = 35.0  # after a failure what Temporal had told may be counted again
BEFORE_S = 69.0  # so much older than the failure may the count before it be
DOUBT_S = 120.0  # so long it is not believed
STUCK_S = 60.0  # tasks beside free slots, and replicas that do not come to work
BLIND_S = 120.0  # not looked at for longer: missing data

FEWER = {Reason.DEMAND_FELL, Reason.IDLE, Reason.AT_MAXIMUM}
SAME = {Reason.STABILIZING, Reason.LAST_REPLICA, Reason.NOT_STARTING}
NOT_MORE = {Reason.RATE_LIMITED, *SAME, *FEWER} - {Reason.AT_MAXIMUM}


@dataclass(frozen=True)
class Facts:
    """One look with the eyes of somebody who does not know the policy."""

    now: float
    current: int
    blind: bool = True
    """Nothing could be read."""
    heard: bool = False
    """The slots in use of every type are known,"""
    counted: bool = False
    """and the waiting tasks."""
    new: bool = False
    """These are of now."""
    running: int = 0
    leaving: int = 0
    used: int = 0
    """Slots of the type that has the most in use."""
    in_hand: int = 0
    """Those of activities."""
    busy: int = 0
    calm: bool = False
    """All is known, and nothing runs, waits, came or has just ended."""
    work: bool = False
    """Something waits or came."""
    stuck: frozenset[str] = frozenset()
    """Types whose tasks wait for long beside free slots, and none is taken."""


def facts_of(look: Look, current: int) -> Facts:
    """The facts of `look`, when `current` replicas were wanted."""
    demand = look.demand
    if demand is None or all(t.backlog is None and t.used_slots is None for t in demand.types):
        return Facts(look.now, current)
    types, at_work = demand.types, [w for w in demand.workers if not w.draining]
    heard, counted = (all(getattr(t, name) is not None for t in types) for name in ("used_slots", "backlog"))
    moving = any(t.backlog or t.used_slots or t.add_rate or t.processed_per_s for t in types)
    still = not (moving or demand.woken or any(w.used_slots for w in demand.workers))
    return Facts(
        look.now,
        current,
        blind=False,
        heard=heard,
        counted=counted,
        new=counted and all(look.now - look.asked_at[t.task_type] <= NEW_S for t in types),
        running=len(at_work),
        leaving=len(demand.workers) - len(at_work),
        used=max(t.used_slots or 0 for t in types),
        in_hand=max((t.used_slots or 0 for t in types if t.task_type == "activity"), default=0),
        busy=sum(w.used_slots > 0 for w in at_work),
        calm=heard and counted and still and (current == 0 or bool(at_work)),
        work=demand.woken or any(t.backlog or t.add_rate for t in types),
        stuck=frozenset(t.task_type for t in types if _stuck(t)),
    )


def _waits(t: Any) -> bool:
    """Tasks wait for long beside free slots, and no limit is the cause."""
    free = t.used_slots is not None and t.used_slots < t.total_slots
    return bool(t.backlog and free and not t.rate_limited and t.backlog_age_s >= STUCK_S)


def _stuck(t: Any) -> bool:
    return _waits(t) and not t.dispatch_rate and not t.processed_per_s


@dataclass(frozen=True)
class Count:
    """What was told when `replicas` were wanted or more: tasks that wait, come since Temporal failed, the oldest."""

    at: float = -math.inf
    told: int = 0
    doubted: int = 0
    oldest_at: float = -math.inf
    oldest_since: float = math.inf
    replicas: int = 0

    def next(self, at: float, t: Any, failed_at: float, replicas: int) -> Count:
        """The count after one more answer."""
        since_s, oldest_at = at - failed_at, at - t.backlog_age_s
        rose = since_s < AGAIN_S - LAG_S and at - self.at < AGAIN_S + BEFORE_S - LAG_S
        came = max(0, t.backlog - self.told) if rose else 0
        doubted = max(0, min(self.doubted + came, t.backlog - 1)) if since_s < DOUBT_S - LAG_S else 0
        same = abs(oldest_at - self.oldest_at) < 6 - LAG_S
        oldest_at, since = (self.oldest_at, self.oldest_since) if same else (oldest_at, at)
        return Count(at, t.backlog, doubted, oldest_at, since, replicas)


def steady_s(policy: Policy) -> float:
    """Seconds: slots in use for so long count as steady load, which may be only after a step down."""
    return max(15.0, 2 * policy.max_wait_s)


class Promises:
    """The promises to one pool, look after look."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """The autoscaler starts anew: what it knew before counts neither for it nor against it."""
        self.past: list[Facts] = []
        self.needs: list[tuple[float, int]] = []
        self.grew_at = self.shrunk_at = -math.inf
        self.ups, self.used_then, self.news = 0, 0, True
        self.counts: dict[str, Count] = {}
        self.failed_at, self.heard_once = -math.inf, False
        self.ended = set[str]()

    def order(self) -> None:
        """The user asked for something else: whatever follows has a cause."""
        self.news = True

    def check(self, policy: Policy, look: Look, current: int, decision: Any) -> None:
        """Raises AssertionError where `decision` breaks a promise."""
        facts, n, reason = facts_of(look, current), decision.replicas, Reason(decision.reason.value)
        self._learn(policy, look, facts)
        assert decision.message, "a decision says why"
        assert policy.min_replicas <= n <= policy.max_replicas, "never outside the limits"
        self._doubt(policy, facts, n)
        self._floor(policy, facts, n)
        self._zero(policy, look, facts, n)
        self._fewer(policy, facts, n)
        self._more(policy, look, facts, n)
        self._reversals(policy, facts)
        self._reason(policy, look, facts, n, reason)
        self.grew_at = look.now if n > current else self.grew_at
        self.shrunk_at = look.now if n < current else self.shrunk_at

    def _learn(self, policy: Policy, look: Look, facts: Facts) -> None:
        if not self.needs or look.now - self.past[-1].now > BLIND_S:
            self.needs = [(look.now, facts.current)]  # what a new autoscaler finds is needed, as far as it knows
        self.past = [f for f in self.past if f.now > look.now - 10 * STUCK_S] + [facts]
        least = self._room(policy, facts)
        if facts.blind or not facts.heard or (facts.current and not facts.running):
            least = facts.current
        self.needs = [n for n in self.needs if n[0] > look.now - policy.stabilization_window_s] + [(look.now, least)]
        self.heard_once = self.heard_once or facts.heard
        if facts.blind or not facts.counted or (self.heard_once and not facts.heard):
            self.failed_at = look.now
        for t in look.demand.types if not facts.blind else ():
            if t.processed_per_s:
                self.ended.add(t.task_type)
            at, before = look.asked_at[t.task_type], self.counts.get(t.task_type, Count())
            new = t.backlog is not None and at > before.at
            fewer = replace(before, replicas=min(before.replicas, facts.current))
            self.counts[t.task_type] = before.next(at, t, self.failed_at, facts.current) if new else fewer

    def _doubt(self, policy: Policy, facts: Facts, n: int) -> None:
        if n < min(facts.current, policy.max_replicas):
            assert facts.heard, "never fewer while slots are unknown"
            assert facts.counted, "never fewer while waiting tasks are unknown"
            assert facts.new, "never fewer on old statistics"
            assert facts.running, "never fewer while no worker has reported"
            assert n >= facts.current - facts.running, "those that have not reported may be busy"

    def _room(self, policy: Policy, facts: Facts) -> int:
        """Replicas for the work in hand; workflow tasks, most of them of milliseconds, keep those that are there."""
        activities, all_types = (math.ceil(n / policy.slots_per_replica) for n in (facts.in_hand, facts.used))
        return max(activities, min(all_types, max(facts.current, 1)))

    def _floor(self, policy: Policy, facts: Facts, n: int) -> None:
        least = max(self._room(policy, facts), facts.busy if policy.long_activities else 0)
        assert n >= min(least, policy.max_replicas), "never below the work in hand"

    def _zero(self, policy: Policy, look: Look, facts: Facts, n: int) -> None:
        if n or not policy.max_replicas:
            return
        if not facts.current:
            assert not facts.used, "something runs"
            assert look.demand is None or not look.demand.woken, "a workflow was started"
            assert facts.blind or not any(t.backlog for t in look.demand.types), "something waits"
            return
        assert facts.current == 1, "the last replica leaves alone"
        since = look.now
        for f in reversed(self.past):
            if not f.calm or since - f.now > BLIND_S:
                break
            since = f.now
        assert since <= look.now - policy.idle_s, "never zero before it was seen to be calm for idle_s"

    def _counts(self, t: Any, look: Look) -> int:
        new = t.backlog is not None and look.now - look.asked_at[t.task_type] <= NEW_S
        return t.backlog - self.counts[t.task_type].doubted if new else 0

    def _fewer(self, policy: Policy, facts: Facts, n: int) -> None:
        if n >= min(facts.current, policy.max_replicas) or not n:
            return
        step = max(1, facts.current * policy.max_percent // 100)
        assert n >= facts.current - step, "a step takes its share"
        every_s = min(STEP_S, policy.stabilization_window_s)
        assert facts.now - self.shrunk_at >= every_s, "the next step waits until the last one shows"
        assert not facts.leaving, "a step waits for those that leave"
        assert n >= min(policy.max_replicas, max(need for _, need in self.needs)), "the window keeps what it needed"

    def _more(self, policy: Policy, look: Look, facts: Facts, n: int) -> None:
        if n <= max(facts.current, policy.min_replicas):
            return
        slots, current = policy.slots_per_replica, facts.current
        assert look.demand is not None, "never more while nothing is known"
        types = look.demand.types
        most = int(look.demand.woken or (not current and any(t.backlog for t in types)))
        for t in types:
            busy, waits = (t.used_slots or 0) / (slots * policy.utilization / 100), self._counts(t, look)
            each = 1 / slots if t.task_type in self.ended else max(1 / slots, 1 / policy.backlog_per_replica)
            of_it = math.ceil(busy + waits * each - 1e-9)
            since_s = facts.now - self.grew_at
            if waits and min(t.backlog_age_s, since_s) > policy.max_wait_s and facts.running >= current * facts.heard:
                of_it = max(of_it, current + 1)
            passed_by = look.now - self.counts.get(t.task_type, Count()).oldest_since > STUCK_S and waits and _waits(t)
            stuck = self._lasts(facts, lambda f, kind=t.task_type: kind in f.stuck and f.running >= f.current > 0)
            if stuck or (passed_by and self._lasts(facts, lambda f: f.heard and f.running >= f.current > 0)):
                of_it = max(math.ceil(busy - 1e-9), 1)
            answered = waits and current > self.counts[t.task_type].replicas
            if t.rate_limited or (answered and look.now - look.asked_at[t.task_type] < NEW_S - 2 * LAG_S):
                of_it = min(of_it, max(current, 1))
            most = max(most, of_it)
        if self._lasts(facts, lambda f: f.heard and f.running < f.current, same=True):
            most = min(most, current)
        most = max(most, self._room(policy, facts), facts.busy if policy.long_activities else 0)
        assert n <= most, f"no more than what waits and runs can ask for, with the brakes: {most}"

    def _lasts(self, facts: Facts, true: Any, *, same: bool = False) -> bool:
        """Whether that was true at each look for STUCK_S; with `same` no worker came, else no growth was decided."""
        since = running = None
        for f in reversed(self.past):
            if not true(f) or (running is not None and f.running < running and same):
                break
            since, running = f.now, f.running
        if since is None or (not same and self.grew_at >= since):
            return False
        return facts.now - since >= STUCK_S

    def _reversals(self, policy: Policy, facts: Facts) -> None:
        self.news = self.news or facts.work or not facts.heard or not facts.counted or facts.used > self.used_then
        before = self.past[-2].current if len(self.past) > 1 else facts.current
        if facts.current < before:
            used, short = [facts.used], policy.stabilization_window_s < steady_s(policy)
            used += [f.used for f in self.past if f.heard and f.now > facts.now - steady_s(policy) and short]
            self.ups, self.used_then, self.news = 0, min(used), False
        elif facts.current > before:
            self.ups += 1
            assert self.news or self.ups <= 1, "after a step down no second one up without new work"

    def _reason(self, policy: Policy, look: Look, facts: Facts, n: int, reason: Reason) -> None:
        current, types = facts.current, () if facts.blind else look.demand.types
        says = f"{reason.value} at {current} -> {n}"
        assert reason in FEWER or n >= current, f"fewer, and not a reason for fewer: {says}"
        assert reason not in NOT_MORE or n <= max(current, 1, policy.min_replicas), f"more, and not a reason: {says}"
        assert reason not in SAME or n in (current, policy.max_replicas), f"not the same: {says}"
        holds = {
            Reason.AT_MINIMUM: n == policy.min_replicas,
            Reason.AT_MAXIMUM: n == policy.max_replicas,
            Reason.WAKE_UP: current == 0 < n,
            Reason.IDLE: n == 0 and facts.heard and facts.counted and not any(t.backlog or t.used_slots for t in types),
            Reason.LAST_REPLICA: n == current == 1 and not facts.used and not any(self._counts(t, look) for t in types),
            Reason.DEMAND_FELL: n < current,
            Reason.DEMAND_UNKNOWN: not (facts.heard and facts.counted and (facts.running or not current)),
            Reason.RATE_LIMITED: any(t.rate_limited for t in types),
            Reason.COUNT_IN_DOUBT: any(t.backlog for t in types) and facts.now - self.failed_at <= DOUBT_S + NEW_S,
            Reason.NOT_DISPATCHING: any(_waits(t) for t in types),
            Reason.BACKLOG_WAITING: any(self._counts(t, look) for t in types),
            Reason.WAIT_TOO_LONG: n >= current
            and any(t.backlog and t.backlog_age_s > policy.max_wait_s for t in types),
            Reason.NOT_STARTING: facts.heard and facts.running < current,
            Reason.WORK_IN_HAND: facts.used > 0,
        }
        assert holds.get(reason, True), f"the reason is not what happened: {says}"
