"""Starts, children, local activities and chains on a real server: queues, options, and calls that must fail at once."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import (
    Client,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowUpdateFailedError,
)
from temporalio.common import Priority, WorkflowIDConflictPolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from tests.apps.lab import chains
from tests.apps.lab import workflows as lab
from tests.worker.pools import lab_settings, running_pools


def run(address: str, body: Callable[[Client], Awaitable[None]], **temporal: Any) -> None:
    async def main() -> None:
        settings = lab_settings(address, **temporal)
        async with asyncio.timeout(90), running_pools(settings, "lab", "lab-other") as client:
            await body(client)

    asyncio.run(main())


def new_id() -> str:
    return f"test-{uuid.uuid4()}"


async def attributes(handle: WorkflowHandle[Any, Any], kind: EventType.ValueType, name: str) -> list[Any]:
    return [getattr(event, name) for event in (await handle.fetch_history()).events if event.event_type == kind]


def test_a_child_takes_queue_timeouts_and_types_as_a_start_does(temporal_address: str) -> None:
    async def body(client: Client) -> None:
        handle = await chains.Parent.start_workflow(client, input=None, id=new_id())
        told = ["a on lab", "b on lab-other", "c on lab-other", "d on lab", "handle on lab"]
        assert await handle.result() == told
        kind = EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED
        children = await attributes(handle, kind, "start_child_workflow_execution_initiated_event_attributes")
        assert [child.workflow_run_timeout.seconds for child in children] == [55, 55, 55, 55, 0], "None is a value"
        assert {child.retry_policy.maximum_attempts for child in children} == {4}
        assert children[-1].workflow_id == f"{handle.id}-d"

    run(temporal_address, body, workflows={"run_timeout_s": 55, "retry": {"maximum_attempts": 4}})


def test_activities_of_every_shape(temporal_address: str) -> None:
    async def body(client: Client) -> None:
        result = await chains.Shapes.execute_workflow(client, input=None, id=new_id())
        assert result == ["ab-", "abc", "ab-", "lm-", "lab", "lab"]

    run(temporal_address, body)


@pytest.mark.parametrize(
    ("case", "told"),
    [
        ("child", ["UnknownWorkflow: NoQueue is on no queue", "chains", "@workflow_defn(queue=...)"]),
        ("child by name", ['no workflow is named "Chld"', 'Did you mean "Child"?']),
        ("child queue", ['nobody serves task queue "labb" for workflow Child', "external_queues"]),
        ("local", ['local activity where_am_i_elsewhere is declared on queue "lab-other"', "Call execute_activity"]),
        ("no timeout", ["where_am_i is called without any limit of its time", "config.yaml"]),
        ("activity_id", ['an activity has no option "activity_id"', "breaks the replay"]),
        ("option", ['no option "start_to_close_timout"', 'Did you mean "start_to_close_timeout"?']),
        ("undo", ["undeclared is on no queue", "activities.py:", "@activity_defn(queue=...)"]),
    ],
)
def test_a_call_that_could_only_hang_fails_the_run(temporal_address: str, case: str, told: list[str]) -> None:
    async def body(client: Client) -> None:
        with pytest.raises(WorkflowFailureError) as caught:
            await chains.Mistaken.execute_workflow(client, input=case, id=new_id())
        for words in told:
            assert words in str(caught.value.cause)

    run(temporal_address, body)


def test_a_chain_goes_on_with_its_next_input(temporal_address: str) -> None:
    async def body(client: Client) -> None:
        handle = await chains.Counts.start_workflow(client, input=1, id=new_id())
        assert await handle.result() == 3
        newest = chains.Counts.get_handle(client, handle.id)
        assert await (await newest.describe()).memo() == {"round": 3}
        first = chains.Counts.get_handle(client, handle.id, run_id=handle.first_execution_run_id)
        assert (await first.describe()).status == WorkflowExecutionStatus.CONTINUED_AS_NEW

    run(temporal_address, body)


def test_a_signal_with_start_starts_once_and_signals_each_time(temporal_address: str) -> None:
    async def body(client: Client) -> None:
        workflow_id = new_id()
        first = await chains.Inbox.signal_with_start(
            client, chains.Inbox.mail, "ann", "one", input="open", id=workflow_id, static_summary="mails"
        )
        second = await chains.Inbox.signal_with_start(client, "mail", "bob", "two", input="again", id=workflow_id)
        assert await second.result() == ["open", "ann: one", "bob: two"]
        started = await attributes(
            first, EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED, "workflow_execution_started_event_attributes"
        )
        assert [(s.task_queue.name, s.workflow_run_timeout.seconds) for s in started] == [("lab", 66)]
        no_signal: Any = chains.Inbox.run
        with pytest.raises(TypeError, match="is not a signal with a name"):
            await chains.Inbox.signal_with_start(client, no_signal, "x", input="x", id=workflow_id)

    run(temporal_address, body, workflows={"run_timeout_s": 66})


def test_an_update_with_start_gives_the_updates_result(temporal_address: str) -> None:
    async def body(client: Client) -> None:
        workflow_id = new_id()
        call = chains.Inbox.update_with_start
        assert await call(client, chains.Inbox.count, 7, input="open", id=workflow_id, update_id="u") == 7
        assert await call(client, "count", 1, input="open", id=workflow_id) == 1, "the run that is open already"
        assert await call(client, chains.Inbox.count, 9, input="open", id=workflow_id, update_id="u") == 7, "the same"
        with pytest.raises(WorkflowUpdateFailedError) as caught:
            await call(client, chains.Inbox.count, -1, input="open", id=workflow_id)
        assert "at_least is negative" in str(caught.value.cause)
        fail = WorkflowIDConflictPolicy.FAIL
        with pytest.raises(WorkflowAlreadyStartedError):
            await call(client, chains.Inbox.count, 1, input="open", id=workflow_id, id_conflict_policy=fail)
        handle = chains.Inbox.get_handle(client, workflow_id)
        started = (await handle.fetch_history()).events[0].workflow_execution_started_event_attributes
        assert (started.task_queue.name, started.workflow_run_timeout.seconds) == ("lab", 66)
        await handle.terminate()

    run(temporal_address, body, workflows={"run_timeout_s": 66})


def test_a_schedule_begins_later_and_every_option_of_a_start_passes(temporal_address: str) -> None:
    async def body(client: Client) -> None:
        handle = await lab.Slept.schedule_workflow(
            client,
            input=0.0,
            id=new_id(),
            start_delay=timedelta(hours=1),
            run_timeout=None,
            memo={"why": "test"},
            priority=Priority(priority_key=2),
            static_summary="summary",
        )
        started = (await handle.fetch_history()).events[0].workflow_execution_started_event_attributes
        assert started.first_workflow_task_backoff.seconds == 3600
        assert started.workflow_run_timeout.seconds == 0, "None is a value"
        assert started.priority.priority_key == 2
        described = await handle.describe()
        assert await described.memo() == {"why": "test"}
        assert await described.static_summary() == "summary"
        await handle.terminate()

    run(temporal_address, body, workflows={"run_timeout_s": 66})


@pytest.mark.parametrize(
    ("input", "told"),
    [
        ("no number", "does not take this str as its input: Input should be a valid number"),
        ({"x": 1}, "does not take this dict"),
    ],
)
def test_a_wrong_input_is_refused_before_anything_is_sent(temporal_address: str, input: Any, told: str) -> None:
    async def body(client: Client) -> None:
        workflow_id = new_id()
        for start in (
            lab.Slept.start_workflow(client, input=input, id=workflow_id),
            lab.Slept.signal_with_start(client, lab.Slept.cancel, input=input, id=workflow_id),
            lab.Slept.update_with_start(client, "x", input=input, id=workflow_id),
        ):
            with pytest.raises(TypeError, match=r"workflows\.py:\d+") as caught:
                await start
            assert told in str(caught.value)
        assert not [w async for w in client.list_workflows(f"WorkflowId = '{workflow_id}'")]

    run(temporal_address, body)
