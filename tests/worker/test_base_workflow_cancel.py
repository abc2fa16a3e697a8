"""Cancelling on a real server: by our signal and by Temporal's request, of bodies that heartbeat and that do not."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle

from tests.apps.lab import bodies, cancels
from tests.worker.pools import lab_settings, running_pools


def run(address: str, body: Callable[[Client], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(90), running_pools(lab_settings(address), "lab", "lab-other") as client:
            await body(client)

    asyncio.run(main())


def new_id() -> str:
    return f"test-{uuid.uuid4()}"


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while not await condition():
            await asyncio.sleep(0.05)


async def body_runs(workflow_id: str) -> None:
    async def runs() -> bool:
        return bodies.states.get(workflow_id) == "runs"

    await until(runs)


async def events(handle: WorkflowHandle[Any, Any], kind: EventType.ValueType) -> int:
    return sum(event.event_type == kind for event in (await handle.fetch_history()).events)


@pytest.mark.parametrize("native", [False, True], ids=["signal", "native"])
@pytest.mark.parametrize(
    ("beats", "waits", "outcome", "body"),
    [
        (True, False, "cancelled", {"runs", "told"}),
        (True, True, "cancelled", {"told"}),
        (False, False, "cancelled", {"runs"}),
        (False, True, "done", {"ended"}),
    ],
)
def test_what_a_workflow_sees_of_a_cancelled_activity(
    temporal_address: str, native: bool, beats: bool, waits: bool, outcome: str, body: set[str]
) -> None:
    async def scene(client: Client) -> None:
        handle = await cancels.Cancels.start_workflow(client, input=cancels.Plan(beats=beats, waits=waits), id=new_id())
        await body_runs(handle.id)
        await (handle.cancel(reason="enough") if native else handle.signal(cancels.Cancels.cancel, "enough"))

        async def asked() -> bool:
            return await events(handle, EventType.EVENT_TYPE_ACTIVITY_TASK_CANCEL_REQUESTED) == 1

        await until(asked)
        if waits and not beats:
            assert (await handle.describe()).status == WorkflowExecutionStatus.RUNNING
            assert bodies.states[handle.id] == "runs", "never told"
            bodies.released.add(handle.id)
        seen = await handle.result()
        assert (seen.outcome, seen.reason) == (outcome, "enough")
        assert seen.body in body
        if not beats:
            bodies.released.add(handle.id)

        async def ended() -> bool:
            return bodies.states[handle.id] != "runs"

        await until(ended)
        assert bodies.states[handle.id] == ("told" if beats else "ended"), "only a heartbeat brings the news"

    run(temporal_address, scene)


def test_one_signal_ends_activities_local_activities_and_children(temporal_address: str) -> None:
    async def scene(client: Client) -> None:
        # A signal waits while a workflow task is held open for a local activity; a short task timeout makes it short.
        short = timedelta(seconds=2)
        handle = await cancels.CancelsAll.start_workflow(client, input=None, id=new_id(), task_timeout=short)
        await body_runs(handle.id)
        await body_runs(f"{handle.id}-local")
        await handle.signal(cancels.CancelsAll.cancel, "all of it")
        assert await handle.result() == ["ActivityError", "ActivityError", "ChildWorkflowError"]
        child = cancels.Child.get_handle(client, f"{handle.id}-child")
        assert (await child.describe()).status == WorkflowExecutionStatus.CANCELED
        assert bodies.states[f"{handle.id}-local"] == "told"
        bodies.released.add(handle.id)

    run(temporal_address, scene)


def test_a_child_that_is_being_started_is_cancelled_too(temporal_address: str) -> None:
    async def scene(client: Client) -> None:
        assert await cancels.CancelsEarly.execute_workflow(client, input=None, id=new_id()) == "cancelled"

    run(temporal_address, scene)


def test_after_stop_new_nothing_can_be_started(temporal_address: str) -> None:
    async def scene(client: Client) -> None:
        handle = await cancels.NothingNew.start_workflow(client, input=None, id=new_id())
        await handle.signal(cancels.NothingNew.cancel, args=["shop is closed", True])
        assert await handle.result() == ["cancelled: shop is closed"] * 3

    run(temporal_address, scene)


def test_a_second_signal_leaves_alone_what_was_started_after_the_first(temporal_address: str) -> None:
    async def scene(client: Client) -> None:
        handle = await cancels.MakesGood.start_workflow(client, input=None, id=new_id())
        await handle.signal(cancels.MakesGood.cancel, "first")
        await body_runs(handle.id)
        await handle.signal(cancels.MakesGood.cancel, args=["second", True])
        assert (await handle.query(cancels.MakesGood.state))["cancel_reason"] == "first"
        bodies.released.add(handle.id)
        assert await handle.result() == "done"

    run(temporal_address, scene)


def test_a_class_with_workflow_init_can_be_cancelled(temporal_address: str) -> None:
    async def scene(client: Client) -> None:
        handle = await cancels.Initialised.start_workflow(client, input=1.5, id=new_id())
        await body_runs(handle.id)
        await handle.signal(cancels.Initialised.cancel, "why")
        assert await handle.result() == "why 1.5"
        bodies.released.add(handle.id)

    run(temporal_address, scene)


def test_a_signal_of_the_users_may_call_cancel_and_write_the_state(temporal_address: str) -> None:
    async def scene(client: Client) -> None:
        handle = await cancels.SeedsSignal.start_workflow(client, input=None, id=new_id())
        await body_runs(handle.id)
        await handle.signal(cancels.SeedsSignal.custom_cancel_order, "changed my mind")
        state = await handle.query(cancels.SeedsSignal.state)
        assert state == {"cancelled": True, "cancel_reason": "changed my mind"}
        await handle.signal(cancels.SeedsSignal.end)
        assert await handle.result() == "changed my mind"
        bodies.released.add(handle.id)

    run(temporal_address, scene)
