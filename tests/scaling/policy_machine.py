"""What may happen in the life of a pool, drawn by hypothesis: load, faults of every signal, the user, the autoscaler.

Some rules do two things, since chance alone would hardly ever bring them together: a server that restarts while tasks
wait for slow pods, workers that fall silent in a pool that is too large.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test

from app.scaling.policy import Policy
from tests.scaling.life import ON, POLL_S, REAL, Life, policies
from tests.scaling.modelled import FOREVER

KIND = st.sampled_from(["activity", "activity", "workflow"])
TASK_S = st.sampled_from([0.1, 1.0, 6.0, 40.0])
LOOKS = st.sampled_from([1, 1, 2, 5, 15, 40])
SEVERAL = st.sampled_from([1, 3, 20, 60, 200])


class PolicyMachine(Life):
    """Rules change the world, what is told of it, the user's wishes or the autoscaler; each ends with a look."""

    @rule(looks=LOOKS)
    def time_passes(self, looks: int) -> None:
        self.look(looks)

    @rule(kind=KIND, tasks=SEVERAL, task_s=TASK_S, counted=st.sampled_from([True, True, False]))
    def tasks_come(self, kind: str, tasks: int, task_s: float, counted: bool) -> None:
        if counted:
            self.come(tasks, self.kind(kind), task_s)
        else:
            self.world.take(self.kind(kind), tasks, task_s)
        self.look()

    @rule(tasks=st.sampled_from([1, 3]))
    def tasks_come_that_never_end(self, tasks: int) -> None:
        self.come(tasks, task_s=FOREVER)
        self.look(2)

    @rule(
        kind=KIND, every_s=st.sampled_from([0.1, 1.0, 10.0, FOREVER, FOREVER]), task_s=st.sampled_from([0.1, 1.0, 6.0])
    )
    def load_changes(self, kind: str, every_s: float, task_s: float) -> None:
        self.world.lines[self.kind(kind)].load(self.world.now, every_s, task_s)
        self.look(5)

    @rule(looks=st.sampled_from([1, 60, 60]))
    def all_tasks_end(self, looks: int) -> None:
        self.end_all()
        self.look(looks)

    @rule(kind=KIND, tasks=SEVERAL, waves=st.sampled_from([1, 3]), looks=st.sampled_from([1, 50]))
    def tasks_come_that_no_worker_knows(self, kind: str, tasks: int, waves: int, looks: int) -> None:
        for _ in range(waves):
            self.world.lines[self.kind(kind)].unhandled += [self.world.now] * tasks
            self.look(looks)

    @rule(start_s=st.sampled_from([1.0, 20.0, FOREVER]), tasks=SEVERAL, looks=st.sampled_from([4, 40]))
    def pods_start_late_or_never(self, start_s: float, tasks: int, looks: int) -> None:
        self.world.start_pending(start_s)
        for _ in range(2):
            self.come(tasks)
            self.look(looks)

    @rule(drain_s=st.sampled_from([1.0, 30.0]))
    def pods_drain(self, drain_s: float) -> None:
        self.world.drain_s = drain_s
        self.look()

    @rule(index=st.integers(0, 5), pods=st.sampled_from([1, 1, 6]))
    def pods_die(self, index: int, pods: int) -> None:
        for _ in range(pods):
            self.world.kill(index)
        self.look()

    @rule(workers=st.integers(1, 5), silent=ON, more=ON, looks=st.sampled_from([4, 40]))
    def workers_tell_nothing(self, workers: int, silent: bool, more: bool, looks: int) -> None:
        """With `more` of a pool that has been made larger than it need be."""
        if more:
            self.set_replicas(6)
            self.look(15)
        for pod in self.world.pods[:workers]:
            pod.silent = silent
        self.look(looks)

    @rule(on=ON, looks=LOOKS)
    def heartbeats_fail(self, on: bool, looks: int) -> None:
        self.told.heartbeats_fail = on
        self.look(looks)

    @rule(on=ON, looks=LOOKS)
    def statistics_fail(self, on: bool, looks: int) -> None:
        self.told.statistics_fail = on
        self.look(looks)

    @rule(on=ON, looks=LOOKS)
    def statistics_are_not_asked(self, on: bool, looks: int) -> None:
        self.told.not_asked = on
        self.look(looks)

    @rule(looks=LOOKS)
    def temporal_is_away(self, looks: int) -> None:
        self.told.away = True
        self.look(looks)
        self.told.away = False

    @rule(tasks=SEVERAL)
    def the_server_restarts(self, tasks: int) -> None:
        """While tasks wait for pods that start slowly."""
        self.world.start_pending(40.0)
        self.come(tasks, task_s=40.0)
        self.look(4)
        self.told.restart_server()
        self.told.away = True
        self.look(2)
        self.told.away = False
        self.look(8)

    @rule(rate=st.sampled_from([None, 0.0, 20.0]))
    def rates_are_wrong(self, rate: float | None) -> None:
        self.told.wrong_rate = rate
        self.look()

    @rule(on=ON, tasks=SEVERAL)
    def a_rate_limit(self, on: bool, tasks: int) -> None:
        self.told.limited = on
        self.come(tasks)
        self.look(8)

    @rule(blind=ON)
    def a_workflow_starts_elsewhere(self, blind: bool) -> None:
        told, before = self.told, (self.told.heartbeats_fail, self.told.statistics_fail)
        if blind:
            told.heartbeats_fail = told.statistics_fail = True
            self.look(4)
        told.woken = self.current == 0
        self.look()
        told.heartbeats_fail, told.statistics_fail = before

    @rule(asked=policies(), limits=ON)
    def the_user_asks_for_something_else(self, asked: Policy, limits: bool) -> None:
        if limits:
            self.policy = replace(self.policy, min_replicas=asked.min_replicas, max_replicas=asked.max_replicas)
        else:
            self.policy = replace(
                asked,
                min_replicas=self.policy.min_replicas,
                max_replicas=self.policy.max_replicas,
                slots_per_replica=self.policy.slots_per_replica,
            )
        self.promises.order()
        self.look()

    @rule(on=ON)
    def the_user_switches_it_off(self, on: bool) -> None:
        least = 0 if on else self.policy.min_replicas
        self.policy = replace(self.policy, min_replicas=least, max_replicas=0 if on else max(least, 6))
        self.promises.order()
        self.look(3)

    @rule(replicas=st.sampled_from([0, 1, 5, 20]), pinned=ON, away=ON, old=ON, looks=LOOKS)
    def somebody_sets_the_replicas(self, replicas: int, pinned: bool, away: bool, old: bool, looks: int) -> None:
        """`old`: while work waits and Temporal is not asked again."""
        if old:
            self.come(20)
        self.look()
        self.set_replicas(replicas)
        self.automatic, self.told.away, self.told.not_asked = not pinned, away, old
        self.look(looks)
        self.automatic, self.told.away = True, False

    @rule(looks=LOOKS)
    def paused(self, looks: int) -> None:
        self.automatic = False
        self.look(looks)
        self.automatic = True

    @rule(looks=LOOKS)
    def what_is_decided_is_refused(self, looks: int) -> None:
        self.writes = False
        self.look(looks)
        self.writes = True

    @rule(written=ON)
    def the_autoscaler_crashes(self, written: bool) -> None:
        """After its decision; with `written` after the write as well."""
        self.writes = written
        self.look()
        self.writes = True
        self.memory = self.law.memory.Memory()
        self.promises.forget()
        self.told.answers.clear()
        self.look()

    @rule(looks=st.sampled_from([1, 5]))
    def the_clock_stands_still(self, looks: int) -> None:
        self.clock_s = 0.0
        self.look(looks)
        self.clock_s = POLL_S
        self.look()

    @rule(seconds=st.sampled_from([20.0, 140.0, 4000.0]), world=ON, quiet=ON)
    def nobody_looks_for_a_while(self, seconds: float, world: bool, quiet: bool) -> None:
        """With `world` time really passes, else only the clock jumps; `quiet`: nothing waits or runs before."""
        if quiet:
            self.end_all()
            self.set_replicas(1)
            self.look(20)
        self.told.clock += seconds
        if world:
            self.world.run(seconds)
        self.look()

    @rule()
    def all_faults_end(self) -> None:
        self.told.clear()
        self.world.start_pending(2.0)
        self.look()


def lives(count: int, steps: int = 50, law: Any = REAL, number: int | None = None) -> type[PolicyMachine]:
    """So many lives of so many steps under `law`: their machine. Raises AssertionError at a broken promise.

    The lives are the same each time; `number` chooses others.
    """
    machine = type("Lives", (PolicyMachine,), {"law": law, "reasons": Counter(), "steps": 0})
    phases = (Phase.generate, Phase.shrink) if law is REAL else (Phase.generate,)
    asked = settings(
        max_examples=count,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        derandomize=number is None,
        phases=phases,
        report_multiple_bugs=law is REAL,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine if number is None else seed(number)(machine), settings=asked)
    return machine
