"""Sync activities: threads for each queue, as many as it has slots, and no drain waits for them beyond its budget."""

from __future__ import annotations

import asyncio
import signal
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.apps import threads
from tests.worker.pools import Running, lab_settings, running_manager
from tests.worker.served import Served, client, start

SLOTS = 4


def run(address: str, body: Callable[[Running], Awaitable[None]]) -> None:
    worker = {"packages": ["tests.apps.threads"], "drain_timeout_s": 5, "max_concurrent_activities": SLOTS}

    async def main() -> None:
        settings = lab_settings(address, worker=worker)
        queues = "threads", "threads-other", "threads-async"
        async with asyncio.timeout(60), running_manager(settings, *queues) as running:
            await body(running)

    asyncio.run(main())


def new_id() -> str:
    return f"test-{uuid.uuid4()}"


def test_all_activity_slots_of_a_queue_run_side_by_side(temporal_address: str) -> None:
    async def body(running: Running) -> None:
        names = await threads.Meets.execute_workflow(running.client, input=None, id=new_id())
        assert len(set(names)) == SLOTS, "each in a thread of its own; with fewer the barrier would break"

    run(temporal_address, body)


def test_blocked_activities_of_one_queue_delay_no_other_queue(temporal_address: str) -> None:
    async def body(running: Running) -> None:
        blocking = [
            await threads.Runs.start_workflow(running.client, input=("block", 8.0), id=new_id()) for _ in range(SLOTS)
        ]
        while len(running.manager.state.in_flight.running) < SLOTS:
            await asyncio.sleep(0.02)
        name = await threads.Names.execute_workflow(running.client, input=None, id=new_id())
        assert name.startswith("activity-threads-other")
        left = [body.activity for body in running.manager.state.in_flight.running.values()]
        assert left == ["block"] * SLOTS, "all of them are still blocked: nothing waited for them"
        for handle in blocking:
            await handle.terminate()

    run(temporal_address, body)


def test_a_sync_activity_is_cancelled_between_two_steps(temporal_address: str) -> None:
    async def body(running: Running) -> None:
        handle = await threads.Runs.start_workflow(running.client, input=("work_on", 30.0), id=new_id())
        while not running.manager.state.in_flight.running:
            await asyncio.sleep(0.02)
        await handle.cancel()
        while not running.manager.state.in_flight.ended:
            await asyncio.sleep(0.02)
        assert running.manager.state.in_flight.ended == {("threads", "work_on", "cancelled"): 1}

    run(temporal_address, body)


@pytest.mark.parametrize(
    ("activity", "summary"),
    [
        ("work_on", "0 finished, 1 handed over, 0 released, 0 abandoned; exit code 3"),
        ("block", "0 finished, 0 handed over, 1 released, 0 abandoned; exit code 3"),
        # The body was cancelled, and the thread that it had started goes on.
        ("leave_a_thread", "0 finished, 1 handed over, 0 released, 0 abandoned; exit code 3"),
    ],
)
def test_threads_do_not_delay_the_end_beyond_the_budget(
    serve: Callable[..., Served], temporal_address: str, activity: str, summary: str
) -> None:
    settings: dict[str, Any] = {
        "TEMPORAL__WORKER__PACKAGES": '["tests.apps.threads"]',
        "TEMPORAL__WORKER__UNWIND_TIMEOUT_S": "4",
    }
    served = serve("--drain-timeout", "0.5", **settings)
    served.ready()
    workflow_id = start(temporal_address, threads.Runs, (activity, 60.0))
    served.in_flight(1)
    served.signal(signal.SIGTERM)
    assert served.wait(20) == 3
    assert summary in served.text()
    assert ("the budget of 4.5 s is spent" in served.text()) == (activity == "block")
    with client(temporal_address) as call:
        call(lambda c: c.get_workflow_handle(workflow_id).terminate())
