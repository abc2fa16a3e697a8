"""The rules of scaling, one test a promise; `decide` is pure, so time and demand are arguments here as well."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from app.scaling.demand import Demand
from app.scaling.memory import Memory, TypeMemory
from app.scaling.policy import Decision, Reason, decide

from .looks import POLICY, POLL_S, SECOND_TASKS, SLEEPY, live, once, replicas, seen


class TestNeed:
    @pytest.mark.parametrize(
        ("demand", "memory", "want", "reason"),
        [
            pytest.param(seen(used=8), Memory(), 1, Reason.SLOTS_BUSY, id="8 of 10 slots are 80 %: one replica"),
            pytest.param(seen(used=9), Memory(), 2, Reason.SLOTS_BUSY, id="9 of 10 are more than that: two"),
            pytest.param(seen(used=10), Memory(), 2, Reason.SLOTS_BUSY, id="a full replica: two"),
            pytest.param(seen(190), SECOND_TASKS, 4, Reason.BACKLOG_WAITING, id="190 s of work in 5 s: 38 slots"),
            pytest.param(seen(190, 10), SECOND_TASKS, 6, Reason.BACKLOG_WAITING, id="and 12.5 for the work in hand"),
            pytest.param(
                seen(190), Memory(), 10, Reason.BACKLOG_WAITING, id="service time unknown: 20 tasks a replica"
            ),
            pytest.param(
                seen(1, workers=2), Memory(), 2, Reason.STABILIZING, id="one waiting task: one replica, later"
            ),
            pytest.param(seen(1), SECOND_TASKS, 1, Reason.BACKLOG_WAITING, id="one waiting second: one replica"),
        ],
    )
    def test_slots_in_use_and_waiting_work_are_added(
        self, demand: Demand, memory: Memory, want: int, reason: Reason
    ) -> None:
        decision = once(demand, len(demand.running), memory=memory)
        assert (decision.replicas, decision.reason) == (want, reason)

    def test_a_busy_queue_without_backlog_keeps_its_replicas(self) -> None:
        # What costs KEDA 50 of 50 activities: every slot in use and a backlog of 0, for ever.
        decisions = live(seen(used=24, workers=3), 3, seconds=3600)
        assert {(d.replicas, d.reason) for d in decisions} == {(3, Reason.SLOTS_BUSY)}

    def test_a_waiting_task_never_needs_more_than_one_slot(self) -> None:
        hours = Memory(types={"activity": TypeMemory(slots=3600, tasks=1)})
        assert once(seen(50), 1, memory=hours).replicas == 5

    def test_the_neediest_task_type_decides(self) -> None:
        workflow, activity = seen(190, kind="workflow"), seen(used=25)
        demand = replace(activity, types=workflow.types + activity.types)
        assert once(demand, 1).replicas == 10
        assert "190 workflow tasks wait" in once(demand, 1).message

    def test_workflow_tasks_of_a_moment_need_no_replica_of_their_own(self) -> None:
        calm = once(seen(used=1, kind="workflow"), 1)
        busy = live(seen(used=16, kind="workflow"), 1, 30, memory=calm.memory, start=1002.0)
        assert replicas(busy[:7]) == [1]
        assert replicas(busy) == [1, 2], "those of all the last 15 s do"
        assert busy[-1].message.startswith("16 workflow slots are in use, 16 steadily: needs 2 at 80 %")

    def test_workflow_tasks_of_a_moment_are_work_all_the_same(self) -> None:
        asleep = once(seen(kind="workflow", workers=0), 0, SLEEPY)
        assert decide(SLEEPY, seen(used=16, kind="workflow"), asleep.memory, 1002.0, 0).replicas == 1

    def test_workflow_tasks_in_hand_keep_their_replicas(self) -> None:
        # With local activities they last for seconds, and none of them for all of 15.
        memory, current = Memory(), 5
        for look in range(300):
            demand = seen(used=0 if look % 5 == 0 else 50, workers=5, kind="workflow", done=5.0)
            decision = decide(POLICY, demand, memory, 1000.0 + look * POLL_S, current)
            memory, current = decision.memory, decision.replicas
        assert current == 5

    def test_activities_of_a_moment_do(self) -> None:
        calm = once(seen(used=1), 1)
        assert decide(POLICY, seen(used=16), calm.memory, 1002.0, 1).replicas == 2

    def test_the_message_says_the_numbers(self) -> None:
        message = once(seen(190, 10), 1, replace(POLICY, max_replicas=4), SECOND_TASKS).message
        assert message == ("190 activity tasks wait, 1 s each, to be cleared within 5 s: needs 6; maximum is 4")

    def test_tasks_that_end_together_do_not_look_short(self) -> None:
        # Five activities of 6 s start and end together; heartbeats say 5,5,5,5,5,0 in use and 0,0,0,0,0,5 done.
        memory, now = Memory(), 0.0
        for second in range(60):
            last = second % 6 == 5
            demand = seen(used=0 if last else 5, done=5.0 if last else 0.0)
            memory, now = decide(POLICY, demand, memory, now, 1).memory, now + 1
        assert memory.types["activity"].service_s == pytest.approx(5, rel=0.3)

    def test_tasks_that_never_end_do_not_undo_the_service_time(self) -> None:
        memory = live(seen(used=5, done=0.0), 1, seconds=36000, memory=SECOND_TASKS)[-1].memory
        assert memory.types["activity"].service_s == pytest.approx(3600)

    def test_slots_that_have_just_filled_up_do_not_make_tasks_look_long(self) -> None:
        memory = once(seen(used=100, workers=10, done=20.0), 10, memory=SECOND_TASKS).memory
        assert memory.types["activity"].service_s == pytest.approx(1, rel=0.15)

    def test_work_that_came_and_went_shows_its_service_time(self) -> None:
        # Three tasks of a second at a time, looked at each second; the load begins and ends between two looks.
        memory, now = Memory(), 0.0
        for used, done in ((0, 0.0), (3, 1.5), (3, 3.0), (3, 3.0), (3, 3.0), (0, 1.5)):
            memory, now = decide(POLICY, seen(used=used, done=done), memory, now, 1).memory, now + 1
        assert memory.types["activity"].service_s == pytest.approx(1)

    def test_the_first_look_at_work_in_hand_shows_its_service_time(self) -> None:
        assert once(seen(490, 10, done=10.0), 1).memory.types["activity"].service_s == pytest.approx(1)

    def test_slots_of_long_ago_do_not_count(self) -> None:
        memory = once(seen(used=0, done=0.0), 1).memory
        later = decide(POLICY, seen(used=10, done=10.0), memory, 1060.0, 1).memory
        assert later.types["activity"].service_s == pytest.approx(1)

    def test_tasks_too_short_to_be_seen_in_a_slot_still_need_a_replica(self) -> None:
        memory = Memory(types={"activity": TypeMemory(slots=0, tasks=9)})
        assert once(seen(5, workers=0), 0, SLEEPY, memory).replicas == 1

    def test_idle_time_does_not_change_the_service_time(self) -> None:
        idle = live(seen(done=0.0), 1, seconds=600, memory=SECOND_TASKS)
        assert idle[-1].memory.types["activity"].service_s == 1


class TestGrowth:
    def test_a_burst_is_one_jump(self) -> None:
        assert once(seen(490, 10), 1, memory=SECOND_TASKS).replicas == 12

    def test_one_count_adds_replicas_once(self) -> None:
        # The first tasks of a burst that end seem to take 4 s: that is no reason for more at once, for the same 200.
        burst = once(seen(200, 10), 1)
        assert burst.replicas == 12, "200 at 20 a replica, and those in hand"
        same = decide(POLICY, seen(200, 10, done=2.5, stats_age_s=2), burst.memory, 1002.0, burst.replicas)
        assert (same.replicas, same.reason) == (12, Reason.BACKLOG_WAITING)
        assert same.message.endswith("needs 18; not more than 12 until they are counted anew")
        assert decide(POLICY, seen(200, 10, done=2.5), same.memory, 1006.0, same.replicas).replicas == 18

    def test_a_decision_that_is_late_after_its_look_makes_no_count_new(self) -> None:
        burst = once(seen(200, 10), 1)
        assert decide(POLICY, seen(200, 10, done=2.5, stats_age_s=2), burst.memory, 1002.9, 12).replicas == 12

    def test_a_count_adds_to_the_fewest_since_it_was_taken(self) -> None:
        # Counted at 4, lowered to 1 by hand, and of the 10 that are wanted then 3 are.
        counted = once(seen(200), 4)
        lowered = decide(POLICY, seen(200, stats_age_s=2), counted.memory, 1002.0, 1)
        grown = decide(POLICY, seen(200, stats_age_s=4), lowered.memory, 1004.0, 3)
        assert (lowered.replicas, grown.replicas) == (10, 3)

    def test_the_maximum_decides_and_not_the_age_of_the_count(self) -> None:
        policy = replace(POLICY, max_replicas=12)
        burst = once(seen(500, 10), 1, policy)
        same = decide(policy, seen(500, 10, done=2.5, stats_age_s=2), burst.memory, 1002.0, burst.replicas)
        assert [(d.replicas, d.reason) for d in (burst, same)] == [(12, Reason.AT_MAXIMUM)] * 2

    def test_a_count_that_added_nothing_may_still(self) -> None:
        # The fleet refused: the replicas are what they were.
        burst = once(seen(200, 10), 1)
        assert decide(POLICY, seen(200, 10, stats_age_s=2), burst.memory, 1002.0, 1).replicas == 12

    def test_slots_that_clear_a_burst_do_not_ask_for_more(self) -> None:
        memory = live(seen(used=4, done=4.0), 1, 60, memory=SECOND_TASKS)[-1].memory
        burst = decide(POLICY, seen(500, 10, add=17.0, done=10.0), memory, 1062.0, 1)
        clearing = live(seen(0, 110, workers=11, done=110.0), burst.replicas, 10, memory=burst.memory, start=1064.0)
        assert replicas([burst, *clearing]) == [11]
        assert {d.reason for d in clearing} == {Reason.SLOTS_BUSY}

    def test_slots_that_stay_busy_do(self) -> None:
        calm = once(seen(0, 10, workers=11, done=10.0), 11)
        busy = live(seen(0, 110, workers=11, done=110.0), 11, 20, memory=calm.memory, start=1002.0)
        assert replicas(busy) == [11, 14]

    def test_work_that_waits_too_long_gets_one_replica_more(self) -> None:
        decisions = live(lambda n: seen(1, 7 * n, workers=n, age_s=9, dispatched=1.0), 3, 26, memory=SECOND_TASKS)
        assert replicas(decisions) == [3, 4, 5]
        assert decisions[-1].reason is Reason.WAIT_TOO_LONG

    def test_work_that_waits_for_pods_to_start_does_not(self) -> None:
        decisions = live(seen(30, 10, workers=1, age_s=30, dispatched=1.0), 2, 30, memory=SECOND_TASKS)
        assert replicas(decisions) == [2]

    def test_nothing_shrinks_while_work_waits_too_long(self) -> None:
        decisions = live(seen(1, 1, workers=5, age_s=30, dispatched=1.0), 6, 3600, memory=SECOND_TASKS)
        assert {(d.replicas, d.reason) for d in decisions} == {(6, Reason.WAIT_TOO_LONG)}


class TestBrakes:
    def test_a_rate_limit_stops_growth(self) -> None:
        decision = once(seen(500, 20, workers=2, limited=True), 2)
        assert (decision.replicas, decision.reason) == (2, Reason.RATE_LIMITED)

    def test_a_rate_limit_does_not_keep_a_queue_asleep(self) -> None:
        decision = once(seen(500, 0, workers=0, limited=True), 0, SLEEPY)
        assert (decision.replicas, decision.reason) == (1, Reason.WAKE_UP)

    def test_tasks_that_nobody_takes_do_not_grow_the_pool(self) -> None:
        decision = once(seen(400, 1, age_s=300, done=0.0), 1, memory=Memory(staffed_since=900))
        assert (decision.replicas, decision.reason) == (1, Reason.NOT_DISPATCHING)
        assert "a handler missing?" in decision.message

    def test_tasks_that_nobody_takes_do_not_hide_the_work_in_hand(self) -> None:
        decision = once(seen(400, 35, workers=4, age_s=300, done=0.0), 4, memory=Memory(staffed_since=900))
        assert (decision.replicas, decision.reason) == (5, Reason.NOT_DISPATCHING)

    def test_tasks_that_nobody_takes_end_with_one_replica(self) -> None:
        decisions = live(lambda n: seen(400, 1, workers=n, age_s=300, done=0.0), 1, 1200)
        assert (decisions[-1].replicas, decisions[-1].reason) == (1, Reason.NOT_DISPATCHING)


class TestUnknown:
    @pytest.mark.parametrize("demand", [None, seen(None, None)], ids=["no answer", "nothing could be read"])
    @pytest.mark.parametrize(
        ("current", "kept", "reason"),
        [(7, 7, Reason.DEMAND_UNKNOWN), (0, 1, Reason.DEMAND_UNKNOWN), (25, 20, Reason.AT_MAXIMUM)],
    )
    def test_unknown_demand_changes_nothing_but_what_the_limits_ask(
        self, demand: Demand | None, current: int, kept: int, reason: Reason
    ) -> None:
        decision = once(demand, current)
        assert (decision.replicas, decision.reason) == (kept, reason)

    @pytest.mark.parametrize(
        "demand", [seen(None, 0, workers=7), seen(0, None)], ids=["no statistics", "no heartbeats"]
    )
    def test_half_of_the_demand_never_shrinks(self, demand: Demand) -> None:
        decisions = live(demand, 7, 3600)
        assert {(d.replicas, d.reason) for d in decisions} == {(7, Reason.DEMAND_UNKNOWN)}

    @pytest.mark.parametrize("demand", [seen(None, 40, workers=4), seen(100, None)], ids=["slots", "backlog"])
    def test_half_of_the_demand_can_grow(self, demand: Demand) -> None:
        assert once(demand, 4).replicas == 5

    def test_a_fleet_that_has_not_reported_is_not_an_idle_fleet(self) -> None:
        decisions = live(seen(workers=0), 7, 3600)
        assert {(d.replicas, d.reason) for d in decisions} == {(7, Reason.DEMAND_UNKNOWN)}

    def test_a_sleeping_queue_that_cannot_be_read_sleeps_on(self) -> None:
        decision = once(seen(None, 0, workers=0), 0, SLEEPY)
        assert (decision.replicas, decision.reason) == (0, Reason.DEMAND_UNKNOWN)

    def test_workers_that_have_not_reported_are_not_idle(self) -> None:
        # Five are wanted and one tells that it is idle: the others may be as busy as can be, or still to come.
        assert live(lambda n: seen(workers=n - 4), 5, 3600)[-1].replicas == 4
        # Those that are to come are the first to go, so that nothing stays for ever.
        assert live(lambda n: seen(workers=min(n, 2)), 8, 3600)[-1].replicas == 1

    def test_looks_without_heartbeats_start_the_window_anew(self) -> None:
        calm = live(seen(workers=8), 8, 250)
        silent = live(seen(0, None), 8, 320, memory=calm[-1].memory, start=1252.0)
        after = live(seen(workers=8), 8, 290, memory=silent[-1].memory, start=1574.0)
        assert replicas([*calm, *silent, *after]) == [8]

    def test_time_in_which_nobody_looked_starts_the_window_anew(self) -> None:
        calm = live(seen(workers=8), 8, 250)
        assert replicas(live(seen(workers=8), 8, 290, memory=calm[-1].memory, start=1900.0)) == [8]

    def test_an_outage_starts_the_window_anew(self) -> None:
        calm = live(seen(workers=8), 8, 250)
        outage = live(None, 8, 100, memory=calm[-1].memory, start=1252.0)
        after = live(seen(workers=8), 8, 290, memory=outage[-1].memory, start=1354.0)
        assert replicas([*calm, *outage, *after]) == [8]


class TestFloorAndCeiling:
    def test_the_minimum_holds(self) -> None:
        decision = once(seen(), 3, replace(POLICY, min_replicas=3))
        assert (decision.replicas, decision.reason) == (3, Reason.AT_MINIMUM)
        assert once(seen(), 1, replace(POLICY, min_replicas=3)).replicas == 3

    def test_the_maximum_holds(self) -> None:
        decision = once(seen(9000), 3)
        assert (decision.replicas, decision.reason) == (20, Reason.AT_MAXIMUM)

    def test_the_maximum_beats_the_floor_and_does_not_wait(self) -> None:
        decision = once(seen(used=100, workers=10), 10, replace(POLICY, max_replicas=4))
        assert (decision.replicas, decision.reason) == (4, Reason.AT_MAXIMUM)
        assert once(seen(workers=10), 10, replace(POLICY, max_replicas=4)).replicas == 4

    def test_a_lowered_maximum_is_the_reason_whatever_else_is_unknown(self) -> None:
        decision = once(seen(None, 0, workers=5), 5, replace(POLICY, max_replicas=1))
        assert (decision.replicas, decision.reason) == (1, Reason.AT_MAXIMUM)
        needs_as_many = once(seen(used=8), 5, replace(POLICY, max_replicas=1))
        assert (needs_as_many.replicas, needs_as_many.reason) == (1, Reason.AT_MAXIMUM)

    @pytest.mark.parametrize(
        ("demand", "current"),
        [
            pytest.param(seen(used=8), 1, id="work runs"),
            pytest.param(seen(50, workers=0), 0, id="work waits"),
            pytest.param(None, 3, id="nothing is known"),
            pytest.param(seen(None, None, woken=True), 0, id="a workflow is started"),
        ],
    )
    def test_a_maximum_of_0_switches_a_queue_off(self, demand: Demand | None, current: int) -> None:
        decision = once(demand, current, replace(SLEEPY, max_replicas=0))
        assert (decision.replicas, decision.reason) == (0, Reason.AT_MAXIMUM)

    def test_a_queue_of_long_activities_keeps_as_many_replicas_as_are_busy(self) -> None:
        long = replace(POLICY, long_activities=True)
        assert live(seen(used=5, workers=5), 5, 3600, long)[-1].replicas == 5
        assert live(seen(used=5, workers=5), 5, 3600, long)[-1].reason is Reason.WORK_IN_HAND

    def test_with_short_ones_the_slots_in_use_are_the_floor(self) -> None:
        # The work of five replicas fits on one; those that leave drain.
        assert live(lambda n: seen(used=5, workers=n), 5, 3600)[-1].replicas == 1

    def test_draining_workers_are_no_floor(self) -> None:
        long = replace(POLICY, long_activities=True)
        leaving = live(seen(workers=5, draining=3), 5, 3600, long)[-1]
        assert live(lambda n: seen(workers=n), 5, 3600, long, leaving.memory, 4602.0)[-1].replicas == 1


class TestWindowAndStep:
    def test_shrinking_waits_for_the_window(self) -> None:
        decisions = live(lambda n: seen(workers=n), 8, 299)
        assert {(d.replicas, d.reason) for d in decisions} == {(8, Reason.STABILIZING)}

    def test_a_pool_shrinks_only_to_the_most_needed_in_the_window(self) -> None:
        busy = once(seen(used=40, workers=8), 8)
        calm = live(lambda n: seen(used=1, workers=n), 8, 1500, memory=busy.memory, start=1150.0)
        at = {round(1150 + POLL_S * i): d.replicas for i, d in enumerate(calm)}
        assert at[1298] == 8
        assert min(d.replicas for d in calm[:75]) >= 5
        assert calm[-1].replicas == 1

    def test_a_step_takes_at_most_its_share(self) -> None:
        decisions = live(lambda n: seen(workers=n), 20, 3600)
        assert replicas(decisions) == [20, 15, 12, 9, 7, 6, 5, 4, 3, 2, 1]
        assert Reason.DEMAND_FELL in {d.reason for d in decisions}

    def test_the_next_step_waits_until_the_last_one_shows(self) -> None:
        decisions = live(lambda n: seen(workers=n), 20, 3600)
        first, second = (next(i for i, d in enumerate(decisions) if d.replicas <= n) for n in (15, 12))
        assert (second - first) * POLL_S == 16

    def test_the_next_step_waits_until_those_that_leave_are_gone(self) -> None:
        leaving = live(seen(workers=5, draining=1), 5, 3600)[-1]
        assert (leaving.replicas, leaving.reason) == (5, Reason.STABILIZING)
        assert leaving.message.endswith("5 stay while 1 workers still leave")
        assert decide(POLICY, seen(workers=5), leaving.memory, 4602.0, 5).replicas == 4

    def test_old_statistics_take_no_replica_away_and_are_asked_for(self) -> None:
        waiting = live(seen(workers=5, stats_age_s=30), 5, 298)[-1]
        assert not waiting.memory.asks, "the window is not over"
        due = live(seen(workers=5, stats_age_s=30), 5, 3600)[-1]
        assert (due.replicas, due.reason, due.memory.asks) == (5, Reason.STABILIZING, True)
        fresh = decide(POLICY, seen(workers=5, stats_age_s=3), due.memory, 4602.0, 5)
        assert (fresh.replicas, fresh.memory.asks) == (4, False)

    def test_without_a_window_shrinking_is_immediate(self) -> None:
        quick = replace(POLICY, stabilization_window_s=0, max_percent=50)
        assert replicas(live(lambda n: seen(workers=n), 20, 8, quick)) == [10, 5, 3, 2, 1]

    def test_a_restarted_autoscaler_does_not_shrink_at_once(self) -> None:
        assert once(seen(workers=8), 8, memory=Memory()).replicas == 8


class TestZero:
    def test_a_queue_sleeps_after_idle_s(self) -> None:
        decisions = live(lambda n: seen(workers=n), 1, 700, SLEEPY)
        asleep = next(i for i, d in enumerate(decisions) if d.replicas == 0)
        assert asleep * POLL_S == 600
        assert {d.reason for d in decisions[:asleep]} == {Reason.LAST_REPLICA}
        assert {d.reason for d in decisions[asleep:]} == {Reason.IDLE}

    def test_the_window_does_not_delay_the_last_replica(self) -> None:
        decisions = live(lambda n: seen(workers=n), 1, 10, replace(SLEEPY, idle_s=4))
        assert replicas(decisions) == [1, 0]

    @pytest.mark.parametrize(
        "demand",
        [
            pytest.param(seen(1), id="a task waits"),
            pytest.param(seen(used=1), id="a task runs"),
            pytest.param(seen(draining=1), id="a task runs in a worker that drains"),
            pytest.param(seen(add=0.1), id="tasks came within 30 s"),
            pytest.param(seen(None, 0), id="the backlog is unknown"),
            pytest.param(seen(0, None), id="the slots are unknown"),
            pytest.param(seen(workers=0), id="the last worker has not reported"),
            pytest.param(None, id="no answer"),
        ],
    )
    def test_a_queue_stays_awake_while(self, demand: Demand | None) -> None:
        assert live(demand, 1, 3600, SLEEPY)[-1].replicas == 1

    def test_old_statistics_take_no_last_replica_away_and_are_asked_for(self) -> None:
        due = live(seen(stats_age_s=30), 1, 700, SLEEPY)[-1]
        assert (due.replicas, due.reason, due.memory.asks) == (1, Reason.LAST_REPLICA, True)
        assert decide(SLEEPY, seen(stats_age_s=3), due.memory, 1702.0, 1).replicas == 0

    def test_one_unknown_look_starts_the_calm_anew(self) -> None:
        calm = live(seen(), 1, 590, SLEEPY)
        unknown = decide(SLEEPY, None, calm[-1].memory, 1592.0, 1)
        after = live(seen(), 1, 590, SLEEPY, unknown.memory, 1594.0)
        assert after[-1].replicas == 1

    def test_time_in_which_nobody_looked_is_not_calm(self) -> None:
        calm = live(seen(), 1, 20, SLEEPY)
        assert {d.replicas for d in live(seen(), 1, 590, SLEEPY, calm[-1].memory, 1700.0)} == {1}

    def test_it_does_not_sleep_on_beside_tasks_that_waited_when_temporal_was_asked_last(self) -> None:
        decision = once(seen(500, 0, workers=0, stats_age_s=13), 0, SLEEPY)
        assert (decision.replicas, decision.reason) == (1, Reason.WAKE_UP)

    def test_idle_s_is_for_the_last_replica_only(self) -> None:
        quick = replace(SLEEPY, stabilization_window_s=10, max_percent=100, idle_s=20)
        assert replicas(live(lambda n: seen(workers=n), 5, 30, quick)) == [5, 1, 0]
        slow = replace(quick, stabilization_window_s=300)
        assert replicas(live(lambda n: seen(workers=n), 5, 100, slow)) == [5]

    @pytest.mark.parametrize(("backlog", "want"), [(1, 1), (20, 1), (21, 2), (5000, 20)])
    def test_any_waiting_task_wakes_it_at_once(self, backlog: int, want: int) -> None:
        decision = once(seen(backlog, 0, workers=0), 0, SLEEPY)
        assert (decision.replicas, decision.reason) == (want, Reason.WAKE_UP)

    @pytest.mark.parametrize(
        "demand",
        [
            pytest.param(seen(workers=0, woken=True), id="its backlog is not shown yet"),
            pytest.param(seen(None, 0, workers=0, woken=True), id="its backlog cannot be read"),
            pytest.param(seen(None, None, woken=True), id="nothing can be read"),
        ],
    )
    def test_the_start_of_a_workflow_wakes_it_at_once(self, demand: Demand) -> None:
        decision = once(demand, 0, SLEEPY)
        assert (decision.replicas, decision.reason) == (1, Reason.WAKE_UP)
        assert "a workflow was started" in decision.message

    def test_a_sleeping_queue_without_work_sleeps_on(self) -> None:
        decision = once(seen(workers=0), 0, SLEEPY)
        assert (decision.replicas, decision.reason) == (0, Reason.IDLE)


class TestPassedBy:
    @staticmethod
    def waiting(now: float, current: int, *, oldest_at: float, used: int = 6) -> Demand:
        """One task waits since `oldest_at`; others come and go."""
        return seen(1, used, workers=current, age_s=now - oldest_at, add=5.0, dispatched=5.0, done=5.0)

    def live(self, oldest_at: Callable[[float], float], used: int = 6) -> Decision:
        decision = Decision(1, Reason.SLOTS_BUSY, "", SECOND_TASKS)
        for now in range(1000, 1600, 2):
            current = decision.replicas
            demand = self.waiting(now, current, oldest_at=oldest_at(now), used=used * current)
            decision = decide(POLICY, demand, decision.memory, now, current)
        return decision

    def test_a_task_that_nobody_takes_beside_others_asks_for_no_replica(self) -> None:
        decision = self.live(lambda now: 1000.0)
        assert "none is taken though slots are free: a handler missing?" in decision.message
        # What grew in the minute until that is known.
        assert decision.replicas <= 6

    def test_where_the_oldest_is_another_one_each_time_there_is_too_little(self) -> None:
        assert self.live(lambda now: now - 100).replicas == 20

    def test_nor_does_it_count_while_no_slot_is_free(self) -> None:
        assert self.live(lambda now: 1000.0, used=10).replicas == 20


class TestDoubt:
    @pytest.mark.parametrize(
        "failed",
        [
            pytest.param(None, id="no answer at all"),
            pytest.param(seen(None, 10), id="no statistics"),
            pytest.param(seen(200, None), id="no heartbeats any more"),
        ],
    )
    def test_a_count_that_doubles_after_temporal_failed_does_not_count(self, failed: Demand | None) -> None:
        # What a server that restarts tells of 200 waiting tasks, and that 10,000 a second were added.
        before = once(seen(200, 10), 1, memory=SECOND_TASKS)
        away = decide(POLICY, failed, before.memory, 1003.0, before.replicas)
        after = live(seen(400, 10, add=10000.0), 6, 116, memory=away.memory, start=1006.0)
        assert {(d.replicas, d.reason) for d in after} == {(6, Reason.COUNT_IN_DOUBT)}
        assert after[0].message.startswith("400 activity tasks are counted, 200 of them since Temporal failed: needs ")

    def test_it_does_so_for_two_minutes(self) -> None:
        before = once(seen(200, 10), 1, memory=SECOND_TASKS)
        away = decide(POLICY, None, before.memory, 1003.0, before.replicas)
        doubted = live(seen(400, 10, workers=6), 6, 118, memory=away.memory, start=1006.0)[-1]
        assert decide(POLICY, seen(400, 10, workers=6), doubted.memory, 1126.0, 6).replicas == 10

    @pytest.mark.parametrize(
        ("failed_at", "told_at", "wanted"),
        [
            pytest.param(1071.0, 1105.0, (6, Reason.COUNT_IN_DOUBT), id="as old as a calm queue's"),
            pytest.param(1110.0, 1112.0, (10, Reason.BACKLOG_WAITING), id="of before a long outage"),
        ],
    )
    def test_the_count_before_a_failure_may_be_old(
        self, failed_at: float, told_at: float, wanted: tuple[int, Reason]
    ) -> None:
        before = once(seen(200, 10), 1, memory=SECOND_TASKS)
        away = decide(POLICY, None, before.memory, failed_at, before.replicas)
        after = decide(POLICY, seen(400, 10), away.memory, told_at, away.replicas)
        assert (after.replicas, after.reason) == wanted

    def test_what_is_worked_off_is_not_doubted_any_more(self) -> None:
        before = once(seen(200, 10), 1, memory=SECOND_TASKS)
        away = decide(POLICY, None, before.memory, 1003.0, before.replicas)
        doubled = decide(POLICY, seen(400, 60, workers=6), away.memory, 1006.0, 6)
        gone = decide(POLICY, seen(0, 0, workers=6), doubled.memory, 1018.0, 6)
        again = decide(POLICY, seen(500, 0, workers=6), gone.memory, 1080.0, 6)
        assert (again.replicas, again.reason) == (10, Reason.BACKLOG_WAITING)

    def test_a_rise_without_a_failure_counts(self) -> None:
        before = once(seen(200, 10), 1, memory=SECOND_TASKS)
        more = decide(POLICY, seen(400, 10), before.memory, 1006.0, before.replicas)
        assert (more.replicas, more.reason) == (10, Reason.BACKLOG_WAITING)

    def test_a_server_that_never_tells_of_its_workers_is_no_failure(self) -> None:
        before = once(seen(200, None), 1, memory=SECOND_TASKS)
        more = decide(POLICY, seen(400, None), before.memory, 1006.0, before.replicas)
        assert more.reason is Reason.BACKLOG_WAITING

    def test_statistics_that_were_not_asked_for_yet_are_no_failure(self) -> None:
        # A new operator with more queues than its first calls are for.
        before = once(seen(None, stats_age_s=None), 1, memory=SECOND_TASKS)
        counted = decide(POLICY, seen(0), before.memory, 1004.0, before.replicas)
        burst = decide(POLICY, seen(500, 10), counted.memory, 1010.0, counted.replicas)
        assert (burst.replicas, burst.reason) == (10, Reason.BACKLOG_WAITING)

    def test_statistics_that_were_asked_for_in_vain_are_one(self) -> None:
        before = once(seen(None), 1, memory=SECOND_TASKS)
        counted = decide(POLICY, seen(0), before.memory, 1004.0, before.replicas)
        burst = decide(POLICY, seen(500, 10), counted.memory, 1010.0, counted.replicas)
        assert burst.reason is Reason.COUNT_IN_DOUBT

    def test_old_statistics_ask_for_no_replica(self) -> None:
        assert once(seen(500, 5, stats_age_s=13), 1).replicas == 1
        assert once(seen(500, 5, stats_age_s=9), 1).replicas == 20


class TestMissing:
    def test_replicas_that_do_not_start_stop_the_growth(self) -> None:
        growing = live(seen(500, 10, add=20.0, workers=1), 1, 60, replace(POLICY, max_replicas=5))
        assert growing[-1].replicas == 5
        more = live(seen(500, 10, add=20.0, workers=1), 5, 8, POLICY, growing[-1].memory, 1062.0)
        assert {(d.replicas, d.reason) for d in more} == {(5, Reason.NOT_STARTING)}
        assert "1 of 5 are at work, no new one for 60 s: not more than 5" in [d.message.split("; ")[-1] for d in more]

    def test_each_one_that_comes_gives_the_others_time(self) -> None:
        growing = live(seen(500, 10, add=20.0, workers=1), 1, 60, replace(POLICY, max_replicas=5))
        came = live(seen(500, 10, add=20.0, workers=2), 5, 8, POLICY, growing[-1].memory, 1062.0)
        assert came[-1].replicas == 20


def test_every_reason_is_tested() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    assert [r.name for r in Reason if f"Reason.{r.name}" not in source] == []


def test_the_policy_does_not_load_temporal() -> None:
    code = "import sys, app.scaling.policy; sys.exit('temporalio' in sys.modules or 'pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
