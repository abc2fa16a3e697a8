"""What must hold for every policy, demand and order of events; and a queue's life in simulated time."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.scaling.demand import Demand, TypeDemand, WorkerLoad
from app.scaling.memory import Memory
from app.scaling.policy import Decision, Policy, Reason, decide

from .looks import POLICY, SECOND_TASKS, SLEEPY
from .simulated import simulate


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    least = draw(st.sampled_from([0, 0, 1, 4]))
    return Policy(
        task_queue="q",
        min_replicas=least,
        max_replicas=draw(st.integers(max(least, 1), 12)),
        slots_per_replica=draw(st.sampled_from([1, 2, 10])),
        max_wait_s=draw(st.sampled_from([0.5, 5, 20])),
        utilization=draw(st.sampled_from([10, 80, 100])),
        backlog_per_replica=draw(st.integers(1, 30)),
        idle_s=draw(st.sampled_from([1, 20, 60])),
        stabilization_window_s=draw(st.sampled_from([0, 0, 7, 40])),
        max_percent=draw(st.sampled_from([1, 25, 60, 100])),
        long_activities=draw(st.sampled_from([True, True, False])),
    )


COUNT = st.sampled_from([0, 0, 0, 1, 9, 60])
RATE = st.sampled_from([0.0, 0.5, 20.0])
MOSTLY = st.sampled_from([True] * 15 + [False])
HELD = st.sampled_from([0, 0, 0, 1, 1, 9])


@st.composite
def type_demands(draw: st.DrawFn, kind: str, used: int | None, quiet: bool) -> TypeDemand:
    known = draw(MOSTLY)
    return TypeDemand(
        kind,
        backlog=(0 if quiet else draw(COUNT)) if known else None,
        backlog_age_s=draw(st.sampled_from([0.0, 3.0, 100.0])) if known else None,
        add_rate=(0.0 if quiet else draw(RATE)) if known else None,
        dispatch_rate=draw(RATE) if known else None,
        rate_limited=known and draw(st.booleans()),
        used_slots=used,
        total_slots=None if used is None else used + draw(COUNT),
        processed_per_s=None if used is None else draw(st.none() | RATE),
    )


@st.composite
def demands(draw: st.DrawFn) -> Demand | None:
    if not draw(MOSTLY):
        return None
    # Without quiet moments no example would ever shrink far or sleep.
    heard, quiet = draw(MOSTLY), draw(st.booleans())
    held = [(draw(HELD), False), *draw(st.lists(st.tuples(HELD, st.booleans()), max_size=6))] if heard else []
    workers = tuple(
        WorkerLoad(f"pod-{i}", 0 if quiet and not draining else used, 10, draining, 0.1)
        for i, (used, draining) in enumerate(held)
    )
    used = sum(w.used_slots for w in workers if not w.draining) if heard else None
    types = [draw(type_demands("activity", used, quiet))]
    if draw(st.booleans()):
        types.append(draw(type_demands("workflow", 0 if heard else None, quiet)))
    return Demand("q", tuple(types), workers, "" if heard else "a call failed")


@settings(max_examples=500, deadline=None)
@given(
    policies(),
    st.sampled_from([0, 1, 1, 2, 6, 15]),
    st.lists(st.tuples(demands(), st.sampled_from([0.5, 2, 10, 50])), min_size=4, max_size=12),
)
def test_no_decision_ever_breaks_a_promise(
    policy: Policy, current: int, looks: list[tuple[Demand | None, float]]
) -> None:
    memory, now = Memory(), 0.0
    for demand, later_s in looks:
        now += later_s
        decision = decide(policy, demand, memory, now, current)
        check(policy, demand, current, decision)
        memory, current = decision.memory, decision.replicas


def check(policy: Policy, demand: Demand | None, current: int, decision: Decision) -> None:
    wanted = decision.replicas
    assert decision.message
    assert policy.min_replicas <= wanted <= policy.max_replicas
    if demand is None or demand.known == "None":
        assert wanted == min(max(current, policy.min_replicas), policy.max_replicas), "unknown demand changes nothing"
        return
    if demand.known != "Full" or (current > 0 and not demand.running):
        assert wanted >= min(current, policy.max_replicas), "half of the demand never shrinks"
    used = max(t.used_slots or 0 for t in demand.types if t.task_type == "activity")
    if wanted < current and wanted < policy.max_replicas:
        assert wanted >= math.ceil(used / policy.slots_per_replica), "the activities in hand are the floor"
        if policy.long_activities:
            assert wanted >= sum(w.used_slots > 0 for w in demand.running), "a long activity is never cut"
    if any(t.backlog or t.used_slots for t in demand.types):
        assert wanted > 0, "never zero while something waits or runs"
    if current > 0 and any(w.used_slots for w in demand.workers):
        assert wanted > 0, "never to zero while something drains"
    if all(t.rate_limited for t in demand.types) and used <= policy.slots_per_replica * current:
        assert wanted <= max(current, 1, policy.min_replicas) or policy.long_activities, "no growth at a rate limit"


@settings(max_examples=300, deadline=None)
@given(
    policy=policies(),
    current=st.integers(0, 12),
    load=COUNT,
    backlog=COUNT,
    age_s=st.sampled_from([0.0, 3.0, 100.0]),
    done=RATE,
    limited=st.booleans(),
    past=st.lists(demands(), max_size=4),
)
def test_constant_demand_comes_to_rest(
    policy: Policy,
    current: int,
    load: int,
    backlog: int,
    age_s: float,
    done: float,
    limited: bool,
    past: list[Demand | None],
) -> None:
    memory, now, seen = Memory(), 0.0, list[int]()
    for demand in past:
        decision = decide(policy, demand, memory, now, current)
        memory, current, now = decision.memory, decision.replicas, now + 5
    slots = policy.slots_per_replica
    for _ in range(160):
        used = min(load, current * slots)
        # Full slots beside a task that no free slot takes are a riddle that has no number: there, tasks are dispatched.
        dispatched, ended = (1.0, done) if load else (done, 0.0)
        one = TypeDemand(
            "activity",
            backlog=backlog,
            backlog_age_s=age_s,
            add_rate=0.0,
            dispatch_rate=dispatched,
            rate_limited=limited,
            used_slots=used,
            total_slots=current * slots,
            processed_per_s=ended,
        )
        workers = tuple(WorkerLoad(f"pod-{i}", len(range(i, used, current)), 10, False, 0.1) for i in range(current))
        decision = decide(policy, Demand("q", (one,), workers), memory, now, current)
        memory, current, now = decision.memory, decision.replicas, now + 5
        seen.append(current)
    assert len(set(seen[-30:])) == 1


class TestSimulatedQueue:
    @pytest.mark.parametrize("first_look", [0.0, 0.7, 1.3])
    @pytest.mark.parametrize("start_s", [1.0, 10.0])
    @pytest.mark.parametrize("memory", [Memory(), SECOND_TASKS], ids=["service time unknown", "known"])
    def test_a_burst_is_one_jump_and_none_after(self, memory: Memory, start_s: float, first_look: float) -> None:
        changes, waits = simulate(
            POLICY, [10.0] * 500, 1.0, until=60, start_s=start_s, memory=memory, first_look=first_look
        )
        assert [c.reason for c in changes] in ([Reason.BACKLOG_WAITING], [Reason.AT_MAXIMUM])
        # To see it takes a heartbeat or the cache, to clear it max_wait_s; the rest is the start of the pods.
        assert max(waits) < start_s + 2 + POLICY.max_wait_s + 1

    def test_a_steady_load_finds_its_number_and_keeps_it(self) -> None:
        # 20 tasks a second of 1 s at 80 % are 25 slots: three replicas.
        changes, waits = simulate(POLICY, [i / 20 for i in range(20 * 600)], 1.0, until=600)
        assert changes[-1].after in (3, 4)
        assert changes[-1].at < 60 or changes[-1].reason is Reason.DEMAND_FELL
        assert max(waits) < 6

    def test_a_burst_of_long_tasks_gets_a_slot_for_each(self) -> None:
        changes, waits = simulate(POLICY, [10.0] * 100, 60.0, until=69)
        assert changes[-1].after >= 10
        assert max(waits) < 60
        assert len(waits) == 100

    def test_a_sleeping_queue_wakes_at_the_next_look_and_sleeps_again(self) -> None:
        policy = replace(SLEEPY, idle_s=40)
        changes, waits = simulate(policy, [20.0], 1.0, until=150, current=0)
        assert [(c.before, c.after, c.reason) for c in changes] == [(0, 1, Reason.WAKE_UP), (1, 0, Reason.IDLE)]
        assert waits[0] < 2 + 5 + 3
