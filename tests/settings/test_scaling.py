"""Settings of scaling, seen in decisions: the same demand, two policies made from the settings, two numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from app.local.fleet import policy_of
from app.scaling.demand import Demand
from app.scaling.memory import Memory
from app.scaling.policy import Decision, Policy
from tests.scaling.looks import SECOND_TASKS, live, once, seen
from tests.settings.case import SIDES, Case, case, check, settings

Scenario = Callable[[Policy], int]


def now(demand: Demand, current: int = 1, memory: Memory | None = None) -> Scenario:
    return lambda policy: once(demand, current, policy, memory).replicas


def after(seconds: float, demand: Callable[[int], Demand] | Demand, current: int) -> Scenario:
    return lambda policy: _last(live(demand, current, seconds, policy)).replicas


def first_step(demand: Demand, current: int) -> Scenario:
    """The replicas after the first step down."""
    return lambda policy: next(d.replicas for d in live(demand, current, 3600, policy) if d.replicas < current)


def _last(decisions: list[Decision]) -> Decision:
    return decisions[-1]


def _idle(replicas: int) -> Demand:
    return seen(workers=replicas)


SCENARIOS: tuple[tuple[Case, Scenario], ...] = (
    (case("scaling.min_replicas", 2, 4), now(seen(), 1)),
    (case("scaling.max_replicas", 3, 5), now(seen(1000), 1)),
    # 190 tasks of 1 s: 38 slots clear them in 5 s, 19 in 10 s.
    (case("scaling.max_wait_s", 5, 10, seen=(4, 2)), now(seen(190), 1, SECOND_TASKS)),
    (case("scaling.utilization", 80, 100, seen=(2, 1)), now(seen(used=9), 1)),
    (case("scaling.backlog_per_replica", 50, 20, seen=(2, 5)), now(seen(100), 1)),
    # An idle queue, five minutes on.
    (case("scaling.idle_s", 100, 1000, seen=(0, 1)), after(300, _idle, 1)),
    (case("scaling.stabilization_window_s", 60, 600, seen=(3, 4)), after(66, lambda n: seen(workers=n), 4)),
    (case("scaling.max_percent", 25, 50, seen=(6, 4)), first_step(seen(workers=8), 8)),
    # Three of eight replicas have work in hand, one task each.
    (case("scaling.long_activities", False, True, seen=(1, 3)), after(3600, lambda n: seen(used=3, workers=n), 8)),
)
CASES = tuple(each for each, _ in SCENARIOS)
BASE: dict[str, Any] = {"scaling.idle_s": {"scaling": {"min_replicas": 0}}}


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(("each", "scenario"), SCENARIOS, ids=[each.key for each in CASES])
def test_the_decision_follows_the_setting(each: Case, scenario: Scenario, side: int) -> None:
    given = settings([each], side, BASE.get(each.key, {}))
    check([each], side, {each.key: scenario(policy_of(given, "orders"))})
