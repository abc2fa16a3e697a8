"""SIGKILL: activities run elsewhere after their heartbeat timeout, workflows after the sticky timeout.

The bounds are those of docs/drain.md, and BUSY_S. So the times are Temporal's own: when it handed the task over, and
not when a busy machine began with it. The other worker is there before the kill, or its start would count as well.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHandle

from tests.apps.faults import Waits
from tests.faults.evidence import Evidence
from tests.faults.runs import at_work, outcome
from tests.local.dev_fleet import until
from tests.worker.served import Served, client, start

HEARTBEAT_S = 5
STICKY_S = 2
RETRY_S = 1.0
"""temporal.activities.retry.initial_interval_s."""
TIMERS_S = 1.0
"""By how much Temporal's timers may be late (its history.timerProcessorMaxTimeShift); part of what is promised."""
BUSY_S = 3.0
"""Not promised: what the server itself may take longer for on a machine that runs other tests."""
LONG_S = 120.0


def test_the_activities_of_a_killed_worker_run_elsewhere_after_their_heartbeat_timeout(
    faulty: Callable[..., Served], temporal_address: str, evidence: Evidence
) -> None:
    settings = {"TEMPORAL__ACTIVITIES__HEARTBEAT_TIMEOUT_S": str(HEARTBEAT_S)}
    doomed = faulty(**settings)
    workflow_id = at_work(temporal_address, evidence, LONG_S)
    other = faulty(**settings)
    killed_at = kill(doomed)
    until(lambda: len(evidence.lines("start", workflow_id)) > 1, 30)
    lines = evidence.lines("start", workflow_id)
    assert [(line.attempt, line.pid) for line in lines] == [(1, doomed.process.pid), (2, other.process.pid)]

    async def handed_over(handle: WorkflowHandle[Any, Any]) -> float:
        (pending,) = (await handle.describe()).raw_description.pending_activities
        assert pending.attempt == 2
        return seconds(pending.last_started_time)

    again_at = of_run(temporal_address, workflow_id, handed_over)
    assert again_at - killed_at < HEARTBEAT_S + RETRY_S + TIMERS_S + BUSY_S


def test_the_workflows_of_a_killed_worker_go_on_elsewhere_after_the_sticky_timeout(
    faulty: Callable[..., Served], temporal_address: str, evidence: Evidence
) -> None:
    # Not through the laboratory, so that Temporal sees at once that the killed worker's polls are gone.
    settings = {
        "TEMPORAL__ADDRESS": temporal_address,
        "TEMPORAL__WORKER__STICKY_QUEUE_SCHEDULE_TO_START_TIMEOUT_MS": str(STICKY_S * 1000),
    }
    doomed = faulty(**settings)
    workflow_id = start(temporal_address, Waits, None)
    until(lambda: "workflow_task_completed_event_attributes" in events(temporal_address, workflow_id), 15)
    other = faulty(**settings)
    kill(doomed)
    of_run(temporal_address, workflow_id, lambda handle: handle.signal(Waits.call))
    assert outcome(temporal_address, workflow_id) == other.process.pid
    found = events(temporal_address, workflow_id)
    called_at = seconds(found["workflow_execution_signaled_event_attributes"][0].event_time)
    taken_at = [seconds(event.event_time) for event in found["workflow_task_started_event_attributes"]]
    assert min(at for at in taken_at if at > called_at) - called_at < STICKY_S + TIMERS_S + BUSY_S


def kill(worker: Served) -> float:
    """SIGKILL; when that was."""
    at = time.time()
    worker.signal(signal.SIGKILL)
    assert worker.wait(10) == -signal.SIGKILL
    return at


def seconds(at: Timestamp) -> float:
    return at.ToMicroseconds() / 1e6


def of_run(address: str, workflow_id: str, ask: Callable[[WorkflowHandle[Any, Any]], Any]) -> Any:
    with client(address) as call:
        return call(lambda c: ask(c.get_workflow_handle(workflow_id)))


def events(address: str, workflow_id: str) -> dict[str, list[HistoryEvent]]:
    """The history by kind of event."""

    async def look(handle: WorkflowHandle[Any, Any]) -> dict[str, list[HistoryEvent]]:
        found: dict[str, list[HistoryEvent]] = {}
        for event in (await handle.fetch_history()).events:
            found.setdefault(event.WhichOneof("attributes") or "", []).append(event)
        return found

    return dict(of_run(address, workflow_id, look))
