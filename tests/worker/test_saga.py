"""Sagas on a real server: in reverse, all of it, whatever happens in the middle; a worker is really killed."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ActivityError, ApplicationError

from app.core.config import use
from app.core.services.temporal.plugin import fleet_plugins
from tests.apps.lab import bodies, trips
from tests.apps.lab.sagas import BooksTrip, Trip
from tests.worker.pools import lab_settings, running_pools

IN_REVERSE = ["ticket for car", "ticket for hotel", "ticket for flight"]


def run(address: str, body: Callable[[Client], Awaitable[None]], **temporal: Any) -> None:
    async def main() -> None:
        async with asyncio.timeout(90), running_pools(lab_settings(address, **temporal), "lab") as client:
            await body(client)

    asyncio.run(main())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(40):
        while not condition():
            await asyncio.sleep(0.05)


async def start(client: Client, trip: Trip) -> WorkflowHandle[BooksTrip, str]:
    return await BooksTrip.start_workflow(client, input=trip, id=f"test-{uuid.uuid4()}")


async def failure(handle: WorkflowHandle[BooksTrip, str]) -> BaseException:
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    assert caught.value.cause is not None
    return caught.value.cause


def causes(error: BaseException | None) -> list[str]:
    return [] if error is None else [str(error), *causes(error.__cause__)]


@pytest.mark.parametrize("cache", [600, 0], ids=["cached", "replayed each task"])
def test_a_failed_step_undoes_the_earlier_ones_in_reverse(temporal_address: str, cache: int) -> None:
    async def body(client: Client) -> None:
        handle = await start(client, Trip())
        error = await failure(handle)
        assert isinstance(error, ActivityError), "the step's own error goes on"
        assert "NoUse: no use" in causes(error)
        assert trips.unbooked[handle.id] == IN_REVERSE
        assert (await handle.query(BooksTrip.state))["saga"] == "undoing"

    worker = {"packages": ["tests.apps.lab"], "drain_timeout_s": 5, "workflow_cache_size": cache}
    run(temporal_address, body, worker=worker)


def test_without_a_failure_nothing_is_undone(temporal_address: str) -> None:
    async def body(client: Client) -> None:
        handle = await start(client, Trip(fails=False))
        await until(lambda: bodies.states.get(handle.id) == "runs")
        bodies.released.add(handle.id)
        assert await handle.result() == "on my way"
        assert handle.id not in trips.unbooked

    run(temporal_address, body)


def test_an_undo_that_fails_keeps_no_other_from_running_and_the_first_error_is_told(temporal_address: str) -> None:
    async def body(client: Client) -> None:
        handle = await start(client, Trip(no_refund="hotel"))
        error = await failure(handle)
        assert trips.unbooked[handle.id] == ["ticket for car", "ticket for flight"]
        assert isinstance(error, ApplicationError)
        assert error.type == "UndoFailed"
        assert str(error) == "UndoFailed: not undone: unbook_never: ticket for hotel is not refundable"
        assert "NoUse: no use" in causes(error), "the error that made it undo"

    run(temporal_address, body)


@pytest.mark.parametrize("how", ["native", "native twice", "signal", "signal stop_new", "signal, then native"])
def test_a_cancelled_trip_is_undone_to_its_end(temporal_address: str, how: str) -> None:
    async def body(client: Client) -> None:
        handle = await start(client, Trip(fails=False))
        await until(lambda: bodies.states.get(handle.id) == "runs")
        trips.held.add(held := f"{handle.id} ticket for hotel")
        if how.startswith("native"):
            await handle.cancel()
        else:
            await handle.signal(BooksTrip.cancel, args=["no trip", how.endswith("stop_new")])
        await until(lambda: trips.unbooked[handle.id] == IN_REVERSE[:2])
        # In the middle of the undos.
        if how.endswith(("twice", "then native")):
            await handle.cancel()
        elif how.startswith("signal"):
            await handle.signal(BooksTrip.cancel, args=["again", True])
        trips.held.discard(held)
        await failure(handle)
        assert trips.unbooked[handle.id] == IN_REVERSE
        asked = "native" in how
        expected = WorkflowExecutionStatus.CANCELED if asked else WorkflowExecutionStatus.FAILED
        assert (await handle.describe()).status == expected
        bodies.released.add(handle.id)

    run(temporal_address, body)


def test_a_cancel_while_a_failure_is_undone_stops_nothing_and_leaves_it_a_failure(temporal_address: str) -> None:
    async def body(client: Client) -> None:
        workflow_id = f"test-{uuid.uuid4()}"
        trips.held.add(held := f"{workflow_id} ticket for hotel")
        handle = await BooksTrip.start_workflow(client, input=Trip(), id=workflow_id)
        await until(lambda: trips.unbooked[handle.id] == IN_REVERSE[:2])
        await handle.cancel()
        await handle.signal(BooksTrip.cancel, args=["too", True])
        trips.held.discard(held)
        assert "NoUse: no use" in causes(await failure(handle))
        assert trips.unbooked[handle.id] == IN_REVERSE
        assert (await handle.describe()).status == WorkflowExecutionStatus.FAILED

    run(temporal_address, body)


def test_undos_go_on_after_the_worker_was_killed_in_their_middle(temporal_address: str, tmp_path: Path) -> None:
    use(lab_settings(temporal_address))
    book = tmp_path / "unbooked"

    async def main() -> None:
        client = await Client.connect(temporal_address, plugins=fleet_plugins())
        handle = await start(client, Trip(in_file=True))
        await until(lambda: book.exists() and "1 ticket for hotel" in book.read_text())
        first.kill()
        first.wait()
        second = serve(temporal_address, tmp_path)
        try:
            assert "NoUse: no use" in causes(await failure(handle))
        finally:
            second.kill()
            second.wait()
        assert book.read_text().splitlines() == [
            "1 ticket for car",
            "1 ticket for hotel",
            "2 ticket for hotel",
            "1 ticket for flight",
        ]
        events = (await handle.fetch_history()).events
        scheduled = [e for e in events if e.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED]
        assert len(scheduled) == 7, "three bookings, the failure, three undos: none was asked for twice"

    first = serve(temporal_address, tmp_path)
    try:
        asyncio.run(main())
    finally:
        first.kill()
        first.wait()


def serve(address: str, folder: Path) -> subprocess.Popen[bytes]:
    env = {
        **os.environ,
        "FLEET_TEMPORAL__ADDRESS": address,
        "FLEET_TEMPORAL__WORKER__PACKAGES": '["tests.apps.lab"]',
        "FLEET_LOCAL__DATA_DIR": str(folder),
    }
    command = [sys.executable, "-m", "app.worker.main", "serve", "--queue", "lab"]
    with (folder / "worker.log").open("ab") as log:
        return subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True)
