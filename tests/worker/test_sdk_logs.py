"""What a worker's log says of workflow code that can never get on: which workflow, where, why, what helps. One line."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from app.worker import sdk_logs
from tests.apps import stuck
from tests.local.dev_fleet import until
from tests.worker.served import Served, client, start

ACTIVITY = "Workflow code only decides: do that in an activity."


CASES: list[tuple[Any, Any, str, str]] = [
    (
        stuck.Spins,
        None,
        "it held its thread for more than 2 s at {place} in Spins._count. " + ACTIVITY,
        "workflow didn't yield within 2 second(s)",
    ),
    (
        stuck.Opens,
        "/etc/hostname",
        "its task failed at {place} in _read, and is tried again: the sandbox refuses open. " + ACTIVITY,
        "Cannot access __builtins__.open from inside a workflow",
    ),
    (
        stuck.Slips,
        "order",
        "its task failed at {place} in Slips.run, and is tried again: KeyError: 'order'. The run goes on when",
        "'order'",
    ),
]


@pytest.mark.parametrize(("workflow", "argument", "sentence", "in_history"), CASES)
def test_a_workflow_task_that_fails_is_told_in_one_line(
    serve: Callable[..., Served], temporal_address: str, workflow: Any, argument: Any, sentence: str, in_history: str
) -> None:
    served = serve(TEMPORAL__WORKER__PACKAGES='["tests.apps.stuck"]')
    served.ready()
    workflow_id = start(temporal_address, workflow, argument)
    name = workflow.__name__
    told = until(
        lambda: [line for line in served.text().splitlines() if f"workflow {name} ({workflow_id}): " in line], 15
    )
    with open(stuck.__file__) as source:
        marked = next(number for number, text in enumerate(source, 1) if f"here {name} fails" in text)
    # A loop is interrupted at its head or in its body.
    places = [f"tests/apps/stuck/__init__.py:{line}" for line in (marked, marked - 1)]
    assert any(sentence.format(place=place) in told[0] for place in places[: 2 if workflow is stuck.Spins else 1])
    assert "Traceback" not in served.text()
    with client(temporal_address) as call:
        until(lambda: in_history in call(lambda c: _task_failure(c, workflow_id)), 15)
        call(lambda c: c.get_workflow_handle(workflow_id).terminate())


async def _task_failure(c: Any, workflow_id: str) -> str:
    async for event in c.get_workflow_handle(workflow_id).fetch_history_events():
        if event.HasField("workflow_task_failed_event_attributes"):
            return str(event.workflow_task_failed_event_attributes.failure.message)
    return "no failed task"


def test_an_outage_is_told_once_a_minute_for_each_call(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    sdk_logs.install()
    core = logging.getLogger("temporalio.core")
    for tries in range(6, 9):
        core.warning("gRPC call respond_activity_task_completed retried %d times", tries)
        core.warning("gRPC call poll_activity_task_queue retried %d times", tries)
        core.warning("another trouble")
    said = [record.getMessage() for record in caplog.records]
    assert said.count("another trouble") == 3
    assert [line for line in said if "retried" in line] == [
        "gRPC call respond_activity_task_completed retried 6 times",
        "gRPC call poll_activity_task_queue retried 6 times",
    ]
    monkeypatch.setattr(sdk_logs, "SAID_AGAIN_S", 0)
    core.warning("gRPC call poll_activity_task_queue retried 9 times")
    assert caplog.records[-1].getMessage().endswith("retried 9 times")
