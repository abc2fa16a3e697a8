"""Thousands of steps through the lives of pools: no promise of the policy is broken, and every reason is met."""

from __future__ import annotations

from app.scaling.policy import Reason

from .policy_machine import lives

STEPS = 5000


def test_no_promise_is_broken_whatever_fails() -> None:
    machine = lives(115)
    assert machine.steps >= STEPS
    assert [reason for reason in Reason if not machine.reasons[reason]] == [], "nothing is proven of these"
