"""What is marked, and how far a queue of long activities may shrink: cases that are hard to bring about with a real
ReplicaSet (test_victims.py has those that are not)."""

from __future__ import annotations

from typing import Any

import pytest

from app.operator.victims import COST, MARK, choose


def pod(
    name: str, *, ready: bool = True, runs: bool = True, cost: int = 0, template: str = "1", ends: bool = False
) -> Any:
    metadata: dict[str, Any] = {"name": name, "labels": {"pod-template-hash": template}}
    metadata |= {"annotations": {COST: str(cost)}} if cost else {}
    metadata |= {"deletionTimestamp": "2026-01-01T00:00:00Z"} if ends else {}
    states: list[dict[str, Any]] = [{"state": {"running": {}} if runs else {"waiting": {}}}]
    conditions = [{"type": "Ready", "status": str(ready)}]
    return {"metadata": metadata, "status": {"conditions": conditions, "containerStatuses": states}}


@pytest.mark.parametrize(
    ("pods", "spare", "replicas", "marks", "staying"),
    [
        pytest.param([pod("a"), pod("b")], ["a"], 1, {"a": MARK}, 1, id="the idle one"),
        pytest.param([pod("a"), pod("b")], ["a"], 0, {"a": MARK}, 1, id="no further than the idle ones"),
        pytest.param([pod("a"), pod("b", cost=MARK)], ["a", "b"], 1, {}, 1, id="who is marked already"),
        pytest.param(
            [pod("a"), pod("b", cost=MARK)], ["a"], 1, {"a": MARK, "b": None}, 1, id="marked, and busy by now"
        ),
        pytest.param([pod("a"), pod("b", cost=MARK)], ["a"], 2, {"b": None}, 2, id="none goes"),
        pytest.param(
            [pod("a"), pod("b", cost=-2000)], ["a"], 1, {"a": MARK}, 2, id="somebody else made a busy one first"
        ),
        pytest.param(
            [pod("a"), pod("b", ready=False, runs=False)], ["a"], 1, {}, 1, id="one that does not run goes first"
        ),
        pytest.param([pod("a"), pod("b", ready=False)], ["a"], 1, {}, 2, id="one that is not ready, and may have work"),
        pytest.param([pod("a"), pod("b", ready=False)], ["a", "b"], 1, {}, 1, id="one that is not ready, and idle"),
        pytest.param(
            [pod("a"), pod("b", ready=False), pod("c")],
            ["a"],
            1,
            {"a": MARK},
            3,
            id="one that is not ready goes before one that is marked",
        ),
        pytest.param(
            [pod("a", ready=False), pod("b", ready=False)], ["a"], 1, {}, 2, id="two are alike, and one may have work"
        ),
        pytest.param([pod("a"), pod("b", ends=True)], ["a"], 1, {}, 1, id="one has gone already"),
        pytest.param([pod("a"), pod("b", template="2")], ["a"], 1, {"a": MARK}, 2, id="a rollout"),
        pytest.param([pod("a")], ["z"], 1, {}, 1, id="fewer pods than replicas so far"),
        pytest.param([pod("a"), pod("b")], ["a", "b"], 3, {}, 2, id="fewer pods than replicas, and all idle"),
    ],
)
def test_the_choice(
    pods: list[Any], spare: list[str], replicas: int, marks: dict[str, int | None], staying: int
) -> None:
    assert choose(pods, spare, replicas) == (marks, staying)
