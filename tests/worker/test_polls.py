"""A worker leaves once its polls are home: nothing that Temporal has handed over to it is lost on the way."""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.enums.v1 import PendingActivityState
from temporalio.client import WorkflowHandle
from temporalio.service import RPCError
from temporalio.worker import SlotMarkUsedContext, SlotPermit, SlotReleaseContext

from app.core.config.model import WorkerSettings
from app.core.exit import ExitCode
from app.core.services.temporal.asking import Asking
from app.scaling.demand import Observer
from app.worker.polls import NO_TRAFFIC_S, QUIET_S, TELL_S, Polls, _Slots, grace_s
from app.worker.promises import latest_task_s
from app.worker.sticky_queue import StickyQueue
from tests.apps.lab import workflows as lab
from tests.parts.grpc_proxy import grpc_proxy
from tests.parts.temporal import own_server
from tests.scaling.looks import pool_of
from tests.worker.pools import NO_WAIT_S, lab_settings, running_manager

STARTED = PendingActivityState.PENDING_ACTIVITY_STATE_STARTED


@dataclass(frozen=True)
class Asks:
    """What core says when it asks for a slot."""

    slot_type: str = "activity"
    is_sticky: bool = False


@dataclass(frozen=True)
class Uses:
    permit: SlotPermit


@dataclass
class Told:
    """Temporal hears of the sticky queue's end."""

    heard: asyncio.Event = field(default_factory=asyncio.Event)
    kept: bool = True
    known: bool = True

    async def find(self) -> bool:
        return self.known

    async def unload(self) -> bool:
        self.heard.set()
        return True


def slots_of(polls: Polls, workflow_tasks: int = 2, activities: int = 2) -> tuple[_Slots, _Slots]:
    tuner = polls.tuner(workflow_tasks, activities, 2)
    workflow, activity = tuner._get_workflow_task_slot_supplier(), tuner._get_activity_task_slot_supplier()
    assert isinstance(workflow, _Slots)
    assert isinstance(activity, _Slots)
    return workflow, activity


def run(body: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(60):
            await body()

    asyncio.run(limited())


async def settled(task: asyncio.Task[Any]) -> bool:
    """Whether `task` is done after the loop had every chance to do it."""
    for _ in range(10):
        await asyncio.sleep(0)
    return task.done()


def used(permit: SlotPermit) -> SlotMarkUsedContext:
    return Uses(permit)  # type: ignore[return-value]


def test_slots_are_as_many_as_asked_for_and_go_to_those_who_wait() -> None:
    async def body() -> None:
        polls = Polls()
        _, slots = slots_of(polls)
        first = await slots.reserve_slot(Asks())  # type: ignore[arg-type]
        await slots.reserve_slot(Asks())  # type: ignore[arg-type]
        assert polls.open == 2
        third = asyncio.create_task(slots.reserve_slot(Asks()))  # type: ignore[arg-type]
        assert not await settled(third)
        slots.mark_slot_used(used(first))
        assert (polls.open, await settled(third)) == (1, False), "in use is not free"
        slots.release_slot(SlotReleaseContext(None, first))
        assert await settled(third)
        assert polls.open == 2

    run(body)


def test_closed_slots_are_given_to_no_poll_and_to_no_eager_activity() -> None:
    async def body() -> None:
        polls = Polls()
        workflow, slots = slots_of(polls)
        assert slots.try_reserve_slot(Asks()) is not None  # type: ignore[arg-type]
        polls.close()
        assert slots.try_reserve_slot(Asks()) is None  # type: ignore[arg-type]
        for supplier, asks in ((slots, Asks()), (workflow, Asks("workflow"))):
            assert not await settled(asyncio.create_task(supplier.reserve_slot(asks)))  # type: ignore[arg-type]

    run(body)


def test_a_drain_ends_the_sticky_queue_and_looks_once_more_for_what_waits_there() -> None:
    async def body() -> None:
        polls = Polls()
        workflow, _ = slots_of(polls, workflow_tasks=4)
        polls.close()
        sticky = Asks("workflow", is_sticky=True)
        opened = [await workflow.reserve_slot(sticky) for _ in range(2)]  # type: ignore[arg-type]
        polls.task_at = time.monotonic()
        told = Told()
        end = asyncio.create_task(polls.quiesce(30, lambda: False, told))
        await asyncio.wait_for(told.heard.wait(), 10)
        look = asyncio.create_task(workflow.reserve_slot(sticky))  # type: ignore[arg-type]
        workflow.mark_slot_used(used(opened[0]))
        assert not await settled(look), "one of those before is open"
        workflow.release_slot(SlotReleaseContext(None, opened[1]))
        permit = await asyncio.wait_for(look, 10)
        assert not await settled(end)
        workflow.release_slot(SlotReleaseContext(None, permit))
        await asyncio.wait_for(end, 10)
        assert not await settled(asyncio.create_task(workflow.reserve_slot(sticky)))  # type: ignore[arg-type]

    run(body)


def test_temporal_is_told_as_soon_as_a_task_has_shown_where_the_sticky_queue_is() -> None:
    async def body() -> None:
        polls = Polls()
        workflow, _ = slots_of(polls, workflow_tasks=4)
        permit = await workflow.reserve_slot(Asks("workflow", is_sticky=True))  # type: ignore[arg-type]
        told = Told(known=False)
        ending = asyncio.create_task(polls._end_sticky(told))
        assert not await settled(ending)
        told.known = True
        await asyncio.sleep(3 * TELL_S)
        assert not told.heard.is_set(), "nobody asks again for nothing"
        workflow.mark_slot_used(used(permit))
        await asyncio.wait_for(told.heard.wait(), 10)
        ending.cancel()

    run(body)


def test_neither_kind_of_workflow_polls_takes_the_last_slot_while_the_other_has_none() -> None:
    async def body() -> None:
        workflow, _ = slots_of(Polls(), workflow_tasks=3)
        sticky, normal = Asks("workflow", is_sticky=True), Asks("workflow")
        asked = [asyncio.create_task(workflow.reserve_slot(sticky)) for _ in range(3)]  # type: ignore[arg-type]
        assert [await settled(one) for one in asked] == [True, True, False]
        other = asyncio.create_task(workflow.reserve_slot(normal))  # type: ignore[arg-type]
        assert await settled(other), "it is for new runs, though another has asked for it before"
        workflow.mark_slot_used(used(other.result()))
        workflow.release_slot(SlotReleaseContext(None, other.result()))
        assert not await settled(asked[2])
        assert await settled(asyncio.create_task(workflow.reserve_slot(normal)))  # type: ignore[arg-type]

    run(body)


def test_one_who_waits_for_what_is_closed_holds_up_nobody_behind() -> None:
    async def body() -> None:
        polls = Polls()
        workflow, _ = slots_of(polls, workflow_tasks=4)
        polls.close()
        closed = asyncio.create_task(workflow.reserve_slot(Asks("workflow")))  # type: ignore[arg-type]
        assert not await settled(closed)
        kept = asyncio.create_task(workflow.reserve_slot(Asks("workflow", is_sticky=True)))  # type: ignore[arg-type]
        assert await settled(kept)

    run(body)


def test_an_eager_activity_takes_no_slot_that_a_poll_waits_for() -> None:
    async def body() -> None:
        _, slots = slots_of(Polls(), activities=1)
        permit = await slots.reserve_slot(Asks())  # type: ignore[arg-type]
        waiting = asyncio.create_task(slots.reserve_slot(Asks()))  # type: ignore[arg-type]
        assert not await settled(waiting)
        slots.release_slot(SlotReleaseContext(None, permit))
        assert slots.try_reserve_slot(Asks()) is None  # type: ignore[arg-type]
        assert await settled(waiting)

    run(body)


@pytest.mark.parametrize("drain_s", [0.5, 5.0, 30.0, 600.0])
def test_bodies_have_all_of_the_drains_time(drain_s: float) -> None:
    settings = WorkerSettings(drain_timeout_s=drain_s)
    assert latest_task_s(settings) + grace_s(settings) == drain_s
    assert latest_task_s(settings) < drain_s / 2


async def started(handle: WorkflowHandle[Any, Any]) -> None:
    """Temporal has handed its activity to a poll."""
    while not any(a.state == STARTED for a in (await handle.describe()).raw_description.pending_activities):
        await asyncio.sleep(0.02)


def test_a_dispatch_that_is_on_its_way_when_the_drain_begins_is_worked_on(temporal_address: str) -> None:
    async def body(address: str, delays_s: dict[str, float]) -> None:
        own = {"packages": ["tests.apps.lab"], "drain_timeout_s": 60, "polls_timeout_s": 5}
        async with running_manager(lab_settings(address, worker=own), "lab", "lab-other") as running:
            await lab.Routes.execute_workflow(running.client, input=None, id=f"test-{uuid.uuid4()}")
            delays_s["PollActivityTaskQueue"] = 2.0
            handle = await lab.Routes.start_workflow(running.client, input=None, id=f"test-{uuid.uuid4()}")
            # Its first activity comes with the answer to a workflow task, those of the other queue by a poll.
            await started(handle)
            running.stop.set()
            assert await asyncio.shield(running.ending) == ExitCode.DRAINED
            left = (await handle.describe()).raw_description.pending_activities
            with suppress(RPCError):  # its last activities may have come by the other open polls
                await handle.terminate()
            assert not [activity for activity in left if activity.state == STARTED]
            assert running.manager.state.in_flight.ended["lab-other", "where_am_i_elsewhere", "completed"] >= 3

    with grpc_proxy(temporal_address) as proxy:
        run(lambda: body(proxy.address, proxy.delays_s))


def test_an_idle_worker_does_not_wait_for_its_polls(temporal_address: str) -> None:
    async def body() -> None:
        own = {"packages": ["tests.apps.lab"], "drain_timeout_s": 600, "polls_timeout_s": 60}
        async with running_manager(lab_settings(temporal_address, worker=own), "lab-other") as running:
            while not running.manager.pools[0].polls.open:
                await asyncio.sleep(0.02)
            begin = time.monotonic()
        assert time.monotonic() - begin < 20, "and not a minute"

    run(body)


def test_an_autoscaler_sees_all_slots_of_a_worker_that_gives_them_out_itself(temporal_address: str) -> None:
    async def body() -> None:
        async with running_manager(lab_settings(temporal_address), "lab-other") as running:
            pool = pool_of("lab-other", "activity", slots=7)
            observer = Observer(Asking(timeout_s=5), heartbeat_interval_s=2)
            while True:
                seen = (await observer.look(running.client, [pool]))["lab-other"]
                if any(load.identity == running.client.identity for load in seen.running):
                    break
                await asyncio.sleep(0.2)
            assert seen.types[0].total_slots == 7 * len(seen.running)
            assert {load.total_slots for load in seen.running} == {7}

    run(body)


def test_bodies_hear_of_the_drain_while_the_polls_still_come_home(temporal_address: str) -> None:
    async def body() -> None:
        own = {"packages": ["tests.apps.lab"], "drain_timeout_s": 60, "polls_timeout_s": 5}
        async with running_manager(lab_settings(temporal_address, worker=own), "lab") as running:
            (pool,), in_flight = running.manager.pools, running.manager.state.in_flight
            await lab.Slept.start_workflow(running.client, input=2.0, id=f"test-{uuid.uuid4()}")
            while not in_flight.running:
                await asyncio.sleep(0.02)
            running.stop.set()
            while in_flight.running:
                activities = pool.worker._activity_worker
                if activities and (event := activities._worker_shutdown_event) and event.is_set():
                    break
                await asyncio.sleep(0.02)
            assert in_flight.running, "the body is still at work"
            assert not pool.worker._shutdown_event.is_set(), "and so is the SDK's worker"

    run(body)


def test_what_is_cut_is_of_a_worker_that_had_tasks_of_late() -> None:
    async def body(last_task_s: float, cut: int, *, task: bool = False) -> None:
        polls = Polls()
        workflow, activities = slots_of(polls, workflow_tasks=4)
        opened = ((workflow, Asks("workflow")), (workflow, Asks("workflow", is_sticky=True)), (activities, Asks()))
        permits = [await supplier.reserve_slot(asks) for supplier, asks in opened]  # type: ignore[arg-type]
        polls.task_at = time.monotonic() - last_task_s
        wait = asyncio.create_task(polls.quiesce(NO_TRAFFIC_S + 0.2, lambda: False, Told(known=False)))
        await asyncio.sleep(0.1)
        if task:
            activities.mark_slot_used(used(permits[2]))
        await wait
        assert polls.cut == cut

    # The second is quiet before its wait is over: others take the tasks of the queue. The last gets one in its wait.
    for last_task_s, cut in ((0.0, 2), (QUIET_S - 0.4, 2), (QUIET_S + 0.1, 0)):
        run(partial(body, last_task_s, cut))
    run(partial(body, QUIET_S + 0.1, 1, task=True))


def test_polls_that_are_cut_are_told_where_there_was_traffic(
    temporal_address: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def body(orders: int) -> None:
        own = {"packages": ["tests.apps.lab"], "polls_timeout_s": NO_WAIT_S}
        async with running_manager(lab_settings(temporal_address, worker=own), "lab") as running:
            for _ in range(orders):
                handle = await lab.Slept.start_workflow(running.client, input=0.01, id=f"test-{uuid.uuid4()}")
                await handle.result()
            while not running.manager.pools[0].polls.open:
                await asyncio.sleep(0.02)

    def told() -> list[str]:
        return re.findall(r"queue lab: \d+ open polls are cut", caplog.text)

    with caplog.at_level("INFO"):
        run(lambda: body(orders=0))
        assert told() == [], "nothing was on its way"
        run(lambda: body(orders=1))
        assert len(told()) == 1


@pytest.mark.parametrize("flag", ["false", "true"])
def test_runs_that_a_leaving_worker_keeps_go_on_elsewhere_before_it_cuts_a_poll(tmp_path: Path, flag: str) -> None:
    async def body(temporal_address: str) -> None:
        own = {"packages": ["tests.apps.lab"], "polls_timeout_s": NO_WAIT_S, "drain_timeout_s": 5}
        longest_ms = 120_000
        settings = lab_settings(
            temporal_address, worker=own | {"sticky_queue_schedule_to_start_timeout_ms": longest_ms}
        )
        async with running_manager(settings, "lab") as old:
            handle = await lab.Routes.start_workflow(old.client, input=None, id=f"test-{uuid.uuid4()}")
            (pool,) = old.manager.pools
            while not await StickyQueue(pool.worker).find():  # it waits for the other queue, and is kept
                await asyncio.sleep(0.02)
            await pool.polls.quiesce(3, lambda: False, StickyQueue(pool.worker))
            assert not pool.polls.open_of["sticky"]
            async with running_manager(settings, "lab", "lab-other"):
                assert await asyncio.wait_for(handle.result(), 30) == ["lab", "lab-other", "lab-other"]

    with own_server(tmp_path, f"frontend.enableCancelWorkerPollsOnShutdown={flag}") as (address, _):
        run(lambda: body(address))


def test_no_workflow_is_started_eagerly_on_the_clients_of_workers(temporal_address: str) -> None:
    """Core asks our slots for one under a lock that a shutdown needs, which could stop the whole process."""

    async def body() -> None:
        own = {"packages": ["tests.apps.lab"], "polls_timeout_s": NO_WAIT_S}
        async with running_manager(lab_settings(temporal_address, worker=own), "lab") as running:
            name = f"test-{uuid.uuid4()}"
            handle = await lab.Slept.start_workflow(running.client, input=0.01, id=name, request_eager_start=True)
            await handle.result()
            assert getattr(handle, "__temporal_eagerly_started") is False

    run(body)
