"""BaseWorkflow on a real server: routing, options, cancelling, and mistakes that must fail instead of hanging."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError
from temporalio.service import RPCError

from app.worker.registry import registry
from app.worker.workflows.base import BaseWorkflow
from tests.apps.lab import workflows as lab
from tests.worker.pools import lab_settings, running_pools


def run(address: str, body: Callable[[Client], Awaitable[None]], **temporal: Any) -> None:
    settings = lab_settings(address, **temporal)

    async def main() -> None:
        async with asyncio.timeout(60), running_pools(settings, "lab", "lab-other") as client:
            await body(client)

    asyncio.run(main())


def new_id() -> str:
    return f"test-{uuid.uuid4()}"


def root_cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error)


def test_an_activity_runs_on_the_queue_of_its_declaration(temporal_address: str) -> None:
    async def body(client: Client) -> None:
        result = await lab.Routes.execute_workflow(client, input=None, id=new_id())
        assert result == ["lab", "lab-other", "lab-other"]

    run(temporal_address, body)


def test_options_come_from_the_configuration_and_an_explicit_one_wins(temporal_address: str) -> None:
    async def body(client: Client) -> None:
        handle = await lab.Options.start_workflow(client, input=None, id=new_id())
        assert await handle.result() == [[11, 4], [7, 4], [11, 0], [7, 0]]
        scheduled = [
            e.activity_task_scheduled_event_attributes
            for e in (await handle.fetch_history()).events
            if e.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
        ]
        assert [s.retry_policy.maximum_attempts for s in scheduled] == [6, 6]

    run(
        temporal_address,
        body,
        activities={"start_to_close_timeout_s": 99, "retry": {"maximum_attempts": 6}},
        activity={"options_seen": {"start_to_close_timeout_s": 11, "heartbeat_timeout_s": 4}},
    )


def test_a_start_takes_its_timeouts_from_the_configuration(temporal_address: str) -> None:
    async def body(client: Client) -> None:
        handle = await lab.Slept.start_workflow(client, input=0.0, id=new_id())
        started = (await handle.fetch_history()).events[0].workflow_execution_started_event_attributes
        assert started.workflow_run_timeout.seconds == 77
        assert started.task_queue.name == "lab"

    run(temporal_address, body, workflows={"run_timeout_s": 77})


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ("labb", 'nobody serves task queue "labb" for activity where_am_i.\n  Did you mean "lab"?'),
        ("unknown", 'no activity is named "wher_am_i".\n  Did you mean "where_am_i"?'),
        ("undeclared", "Decorate it with @activity_defn(queue=...)."),
    ],
)
def test_a_call_that_nobody_would_serve_fails_the_workflow(temporal_address: str, where: str, told: str) -> None:
    async def body(client: Client) -> None:
        with pytest.raises(WorkflowFailureError) as caught:
            await lab.Misrouted.execute_workflow(client, input=where, id=new_id())
        assert told in root_cause(caught.value)

    run(temporal_address, body)


def test_bad_data_in_workflow_code_fails_the_workflow(temporal_address: str) -> None:
    async def body(client: Client) -> None:
        with pytest.raises(WorkflowFailureError) as caught:
            await lab.Invalid.execute_workflow(client, input={"x": "no number"}, id=new_id())
        assert "valid integer" in root_cause(caught.value)

    run(temporal_address, body)


def test_pass_through_leaves_the_sandbox_closed(temporal_address: str) -> None:
    async def body(client: Client) -> None:
        handle = await lab.Clock.start_workflow(client, input=None, id=new_id())
        async with asyncio.timeout(15):
            while True:
                events = (await handle.fetch_history()).events
                failed = [e for e in events if e.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED]
                if failed:
                    break
                await asyncio.sleep(0.1)
        message = failed[0].workflow_task_failed_event_attributes.failure.message
        assert "Cannot access datetime.datetime.now" in message
        await handle.terminate()

    run(temporal_address, body)


def test_the_sandbox_registers_nothing(temporal_address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    added: list[str] = []

    async def body(client: Client) -> None:
        monkeypatch.setattr(registry, "add", lambda handler: added.append(handler.name))
        await asyncio.gather(*(lab.Slept.execute_workflow(client, input=0.0, id=new_id()) for _ in range(5)))
        assert added == []

    run(temporal_address, body)


def test_cancel_ends_running_activities_and_lets_compensations_run(temporal_address: str) -> None:
    async def body(client: Client) -> None:
        handle = await lab.Sleeps.start_workflow(client, input=30.0, id=new_id())
        await _until_activity_runs(handle)
        await handle.signal(lab.Sleeps.cancel, "changed my mind")
        assert await handle.result() == "compensated"
        assert await handle.query(lab.Sleeps.state) == {"cancelled": True, "cancel_reason": "changed my mind"}

    run(temporal_address, body, activity={"sleep_with_heartbeats": {"heartbeat_timeout_s": 5}})


def test_cancel_with_stop_new_starts_nothing_more(temporal_address: str) -> None:
    async def body(client: Client) -> None:
        handle = await lab.Sleeps.start_workflow(client, input=30.0, id=new_id())
        await _until_activity_runs(handle)
        await handle.signal(lab.Sleeps.cancel, args=["stop", True])
        assert await handle.result() == "nothing new allowed"

    run(temporal_address, body, activity={"sleep_with_heartbeats": {"heartbeat_timeout_s": 5}})


def test_temporals_own_cancel_is_seen_too(temporal_address: str) -> None:
    async def body(client: Client) -> None:
        handle = await lab.Sleeps.start_workflow(client, input=30.0, id=new_id())
        await _until_activity_runs(handle)
        await handle.cancel()
        assert await handle.result() == "compensated"
        assert (await handle.query(lab.Sleeps.state))["cancelled"]
        assert (await handle.describe()).status == WorkflowExecutionStatus.COMPLETED

    run(temporal_address, body, activity={"sleep_with_heartbeats": {"heartbeat_timeout_s": 5}})


def test_a_workflow_without_a_queue_says_what_to_do() -> None:
    class Nowhere(BaseWorkflow[int, int]):
        pass

    with pytest.raises(TypeError, match="decorate it with @workflow_defn"):
        Nowhere.task_queue()


async def _until_activity_runs(handle: Any) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                if (await handle.describe()).raw_description.pending_activities:
                    return
            except RPCError:
                pass
            await asyncio.sleep(0.05)
