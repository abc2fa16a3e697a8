"""Handing over: what has checkpoints leaves with its worker at once, and no step is done twice."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import re
import signal
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from app.core.config import use
from app.core.config.model import Settings
from app.core.services.temporal.payloads import LimitedPayloadConverter
from app.worker.hand_over import HandOver, checkpoint, resumed
from app.worker.registry import Registry, activity_defn
from tests.apps.leaving import evidence
from tests.apps.leaving.activities import Job, Progress
from tests.apps.leaving.workflows import Leaves
from tests.local.dev_fleet import until
from tests.worker.leaving import LEAVING
from tests.worker.served import Served, result, start


def steps(ran: Path, workflow_id: str) -> list[int]:
    return [line["number"] for line in evidence.lines(ran, "step", workflow_id)]


@pytest.mark.parametrize("body", ["exports", "exports_sync"])
def test_a_leaving_worker_hands_over_at_the_next_checkpoint_and_no_step_is_done_twice(
    serve: Callable[..., Served], temporal_address: str, ran: Path, body: str
) -> None:
    leaving = serve("--drain-timeout", "60", **LEAVING)
    leaving.ready()
    # At most one heartbeat in 24 s reaches Temporal while the body works.
    job = Job(body=body, steps=60, step_s=0.1, heartbeat_s=30)
    workflow_id = start(temporal_address, Leaves, job)
    until(lambda: steps(ran, workflow_id), 15)
    leaving.signal(signal.SIGTERM)
    other = serve(**LEAVING)
    assert leaving.wait(30) == 3
    # More than once, when a poll of the leaving worker that was still open had the next attempt too.
    assert re.search(r"0 finished, [1-9] handed over, 0 released, 0 abandoned", leaving.text())
    assert result(temporal_address, workflow_id) == 60
    assert steps(ran, workflow_id) == list(range(60))
    assert evidence.lines(ran, "end", workflow_id)[0]["pid"] == other.process.pid


def test_the_last_attempt_is_left_to_finish(serve: Callable[..., Served], temporal_address: str, ran: Path) -> None:
    leaving = serve("--drain-timeout", "60", **LEAVING)
    leaving.ready()
    workflow_id = start(temporal_address, Leaves, Job(body="exports", steps=40, step_s=0.1, heartbeat_s=30, attempts=1))
    until(lambda: steps(ran, workflow_id), 15)
    leaving.signal(signal.SIGTERM)
    assert leaving.wait(30) == 0
    assert "1 finished, 0 handed over, 0 released, 0 abandoned" in leaving.text()
    assert steps(ran, workflow_id) == list(range(40))


def test_a_killed_worker_costs_the_heartbeat_timeout_and_the_steps_since_the_last_heartbeat(
    serve: Callable[..., Served], temporal_address: str, ran: Path
) -> None:
    killed = serve(**LEAVING)
    killed.ready()
    workflow_id = start(temporal_address, Leaves, Job(body="exports", steps=120, step_s=0.1, heartbeat_s=5))
    # More than the bound below: without checkpoints all of them would be done again.
    until(lambda: len(steps(ran, workflow_id)) > 60, 30)
    killed.signal(signal.SIGKILL)
    killed.wait(5)
    serve(**LEAVING)
    until(lambda: evidence.lines(ran, "end", workflow_id), 60)
    first, second = evidence.lines(ran, "start", workflow_id)
    again = [n for n in steps(ran, workflow_id) if steps(ran, workflow_id).count(n) > 1]
    before = [line["at"] for line in evidence.lines(ran, "step", workflow_id) if line["pid"] == first["pid"]]
    assert second["at"] - before[-1] > 1, "it was noticed by the heartbeat that did not come"
    assert len(set(again)) <= 0.8 * 5 / 0.1 + 10


def seen(body: Callable[..., Any], *details: Any, leaving: bool = False, **info: Any) -> Any:
    """What `body` returns in an activity whose attempt before heartbeated `details`."""
    environment = ActivityEnvironment()
    environment.payload_converter = LimitedPayloadConverter()
    environment.info = dataclasses.replace(environment.info, heartbeat_details=details, **info)
    if leaving:
        environment.worker_shutdown()
    return environment.run(body)


@pytest.mark.parametrize(
    ("default", "as_type", "details", "value"),
    [
        (0, None, [], 0),
        (0, None, [7], 7),
        (Progress(), None, [{"done": 7}], Progress(done=7)),
        (None, Progress, [], None),
        (None, Progress, [{"done": 7}], Progress(done=7)),
        ([], list[Progress], [[{"done": 7}]], [Progress(done=7)]),
        ((0, Progress()), tuple[int, Progress], [3, {"done": 7}], (3, Progress(done=7))),
        (timedelta(), None, ["PT2S"], timedelta(seconds=2)),
    ],
)
def test_resumed_has_the_type_that_was_asked_for(default: Any, as_type: Any, details: Any, value: Any) -> None:
    assert seen(lambda: resumed(default, as_type), *details) == value


def test_a_checkpoint_of_another_type_is_told_and_not_taken_for_the_default() -> None:
    with pytest.raises(ApplicationError, match=r"the last checkpoint is no int: \{'done': 7\}"):
        seen(lambda: resumed(0), {"done": 7})


@pytest.mark.parametrize(
    ("leaving", "info", "after_s"),
    [
        (False, {}, None),
        (True, {}, 0.001),
        (True, {"retry_policy": RetryPolicy()}, 0.001),
        (True, {"retry_policy": RetryPolicy(maximum_attempts=2)}, 4),
        (True, {"retry_policy": RetryPolicy(maximum_attempts=2), "attempt": 2}, None),
        (True, {"retry_policy": RetryPolicy(maximum_attempts=1)}, None),
        (True, {"retry_policy": RetryPolicy(non_retryable_error_types=["HandOver"])}, None),
        (True, {"is_local": True}, None),
    ],
)
def test_a_checkpoint_hands_over_where_another_attempt_would_follow(
    leaving: bool, info: dict[str, Any], after_s: float | None
) -> None:
    use(Settings.model_validate({"temporal": {"worker": {"drain_timeout_s": 10, "polls_timeout_s": 3}}}))

    def body() -> float | None:
        try:
            checkpoint(1)
        except HandOver as error:
            return (error.next_retry_delay or timedelta()).total_seconds()
        return None

    assert seen(body, leaving=leaving, **info) == after_s


@pytest.mark.parametrize(("promised", "hands_over"), [("finish", False), ("hand_over", True), (None, True)])
def test_what_is_declared_to_finish_finishes(registry: Registry, promised: Any, hands_over: bool) -> None:
    @activity_defn(queue="exports", on_drain=promised)
    async def export() -> None: ...

    def body() -> bool:
        try:
            checkpoint(1)
        except HandOver:
            return True
        return False

    assert seen(body, leaving=True, task_queue="exports", activity_type="export") is hands_over


def test_checkpoints_without_a_heartbeat_timeout_are_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    def body() -> None:
        checkpoint(1)
        checkpoint(2)

    with caplog.at_level(logging.WARNING):
        seen(body, heartbeat_timeout=None, activity_type="forgetful")
        seen(body, heartbeat_timeout=timedelta(seconds=1), activity_type="careful")
    [line] = [record.getMessage() for record in caplog.records]
    assert "activity forgetful has checkpoints and no heartbeat timeout" in line


@pytest.mark.parametrize("call", [lambda: checkpoint(1), lambda: resumed(0)])
def test_outside_an_activity_they_say_so(call: Callable[[], Any]) -> None:
    with pytest.raises(RuntimeError, match="outside an activity. Call it in the body of one"):
        call()


def test_both_work_in_async_bodies_too() -> None:
    async def body() -> int:
        await asyncio.sleep(0)
        done = resumed(0)
        checkpoint(done + 1)
        return done

    environment = ActivityEnvironment()
    beats: list[Any] = []
    environment.on_heartbeat = lambda *details: beats.append(details)
    assert asyncio.run(environment.run(body)) == 0
    assert beats == [(1,)]
