"""The life of one pool under the real policy, or a mutant of it: how it begins, a look, and how it comes to rest.

After each decision the promises are checked (`promises.py`), and at the end of each life every fault clears, the load
is constant and the number must come to rest where it fits. `law` is what decides, so that mutants live the same lives.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from types import SimpleNamespace
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant

from app.scaling import demand, memory, policy
from app.scaling.policy import Policy, Reason
from tests.scaling.modelled import FOREVER, TICK_S, World
from tests.scaling.promises import Promises, steady_s
from tests.scaling.told import Told

POLL_S = 2.1  # not a divisor of any limit: a decision is some milliseconds later than its look
REST = 25  # looks
REAL = SimpleNamespace(policy=policy, memory=memory, demand=demand)
ON = st.booleans()


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """All that the CRD lets through, but windows that a test can wait for."""
    least = draw(st.sampled_from([0, 0, 0, 0, 1, 3]))
    return Policy(
        task_queue="q",
        min_replicas=least,
        max_replicas=draw(st.sampled_from([max(least, 1), 6, 30, 30, 200])),
        slots_per_replica=draw(st.sampled_from([1, 10, 10, 10])),
        max_wait_s=draw(st.sampled_from([1, 5, 20])),
        utilization=draw(st.sampled_from([10, 80, 80, 100])),
        backlog_per_replica=draw(st.sampled_from([1, 5, 20, 20])),
        idle_s=draw(st.sampled_from([1, 20, 60])),
        stabilization_window_s=draw(st.sampled_from([0, 7, 40, 40])),
        max_percent=draw(st.sampled_from([1, 25, 60, 100])),
        long_activities=draw(ON),
    )


class Life(RuleBasedStateMachine):
    """One pool under one autoscaler; the rules are in PolicyMachine."""

    law: Any = REAL
    reasons: Counter[Reason]
    steps = 0

    @initialize(policy=policies(), current=st.sampled_from([0, 1, 1, 2, 6, 15]), both=ON)
    def begin(self, policy: Policy, current: int, both: bool) -> None:
        self.policy, self.current = policy, current
        self.world = World(["activity", "workflow"] if both else ["activity"], policy.slots_per_replica, current)
        self.told = Told(self.world, self.law.demand)
        self.memory, self.promises = self.law.memory.Memory(), Promises()
        self.automatic, self.writes, self.clock_s = True, True, POLL_S
        self.broken = False

    @invariant()
    def step(self) -> None:
        type(self).steps += 1

    def look(self, looks: int = 1) -> None:
        """A decision is made, judged and brought about."""
        for _ in range(looks):
            self.world.run(POLL_S)
            self.told.clock += self.clock_s
            look = self.told.look(self.current, asks=self.memory.asks)
            decision = self.law.policy.decide(self.policy, look.demand, self.memory, look.now, self.current)
            self.reasons[Reason(decision.reason.value)] += 1
            self.broken = True
            self.promises.check(self.policy, look, self.current, decision)
            self.broken, self.memory = False, decision.memory
            if self.automatic and self.writes and decision.replicas != self.current:
                self.current = decision.replicas
                self.world.scale(self.current)

    def kind(self, kind: str) -> str:
        return kind if kind in self.world.lines else "activity"

    def come(self, tasks: int, kind: str = "activity", task_s: float = 6.0) -> None:
        self.world.lines[kind].come(self.world.now, tasks, task_s)

    def end_all(self) -> None:
        for line in self.world.lines.values():
            line.waiting.clear()
            line.unhandled.clear()
            line.every_s = line.due_at = FOREVER
        for pod in self.world.pods:
            pod.held = {kind: [self.world.now] * len(ends) for kind, ends in pod.held.items()}

    def set_replicas(self, replicas: int) -> None:
        """By hand."""
        self.current = replicas
        self.world.scale(replicas)
        self.promises.order()

    def teardown(self) -> None:
        if not self.broken and hasattr(self, "world"):
            self.comes_to_rest()

    def comes_to_rest(self) -> None:
        """Every fault ends, no task comes any more: within a bound there is one number, and it fits."""
        world, policy = self.world, self.policy
        self.told.clear()
        world.start_pending(2.0)
        world.drain_s = 4.0
        for line in world.lines.values():
            line.every_s = line.due_at = FOREVER
            line.waiting += [(at, 1.0) for at in line.unhandled]
            line.unhandled.clear()
        steps = max(self.current, policy.max_replicas) * 25.0
        bound_s = self.work_s() + 120 + 2 * policy.max_wait_s + policy.stabilization_window_s + policy.idle_s + steps
        seen = [self.current]
        while len(seen) < bound_s / POLL_S and not (set(seen[-REST:]) == {self.fits()} and len(seen) > REST):
            self.look()
            seen.append(self.current)
        self.broken = True
        assert set(seen[-REST:]) == {self.fits()}, f"comes to rest at {self.fits()}, and not with {seen[-REST:]}"
        assert not world.waiting() or self.current == policy.max_replicas, "nothing waits that could run"
        changes = [b > a for a, b in itertools.pairwise(seen) if a != b]
        # A window that is shorter gives away what is soon needed for the slots that have just been taken.
        most = 2 if policy.stabilization_window_s >= steady_s(policy) else 4
        reversals = sum(a != b for a, b in itertools.pairwise(changes))
        assert reversals <= most, f"{reversals} reversals of constant load: {seen}"

    def fits(self) -> int:
        """The replicas that the work in hand needs."""
        world, policy = self.world, self.policy
        running = max(world.running(kind) for kind in world.lines)
        need = math.ceil(running / (policy.slots_per_replica * policy.utilization / 100) - 1e-9)
        if policy.long_activities:
            need = max(need, sum(pod.busy() > 0 for pod in world.pods))
        return min(max(need, policy.min_replicas), policy.max_replicas)

    def work_s(self) -> float:
        """Seconds that those tasks which will end may take one after the other on the fewest slots."""
        ending = sum(max(s, TICK_S) for line in self.world.lines.values() for _, s in line.waiting if s < FOREVER)
        slots = max(1, self.policy.max_replicas) * self.policy.slots_per_replica
        return 2 * ending / slots + 50
