"""A refused call stays refused: caught or undone, replayed by another worker, with other settings."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError
from temporalio.worker import Replayer

from app.core.services.temporal.plugin import fleet_plugins
from app.worker.registry import registry
from tests.apps.lab import trips
from tests.apps.lab.refused import BooksWrongly, TriesAll
from tests.worker.pools import lab_settings, running_pools

SEEN = [
    "UnknownActivity",
    "UnknownActivity",
    "UnservedQueue",
    "4",
    "NotLocal",
    "UnknownOption",
    "NoTimeout",
    "UnservedQueue",
    "UnknownWorkflow",
    "UnknownOption",
    "5",
]
CACHES = pytest.mark.parametrize("cache", [600, 0], ids=["cached", "replayed each task"])


def run(address: str, cache: int, *bodies: Callable[[Client], Awaitable[None]], **more: Any) -> None:
    """Each body has a worker of its own, with an empty cache."""

    async def main() -> None:
        worker = {"packages": ["tests.apps.lab"], "drain_timeout_s": 5, "workflow_cache_size": cache, **more}
        for body in bodies:
            async with asyncio.timeout(60), running_pools(lab_settings(address, worker=worker), "lab") as client:
                await body(client)

    asyncio.run(main())


def new_id() -> str:
    return f"test-{uuid.uuid4()}"


async def waits(handle: WorkflowHandle[Any, Any]) -> None:
    async with asyncio.timeout(40):
        while "waits" not in await handle.query(TriesAll.state):
            await asyncio.sleep(0.05)


@CACHES
def test_code_that_catches_it_goes_on_with_the_next_worker_too(temporal_address: str, cache: int) -> None:
    workflow_id = new_id()

    async def begin(client: Client) -> None:
        await waits(await TriesAll.start_workflow(client, input=1.0, id=workflow_id))

    async def end(client: Client) -> None:
        handle = TriesAll.get_handle(client, workflow_id)
        await handle.signal(TriesAll.cancel)
        assert await handle.result() == [*SEEN, "6"]
        assert (await handle.query(TriesAll.state))["cancelled"] is True

    run(temporal_address, cache, begin, end)


def test_a_closed_run_replays_whatever_is_declared_by_then(
    temporal_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[Any] = []

    async def body(client: Client) -> None:
        handle = await TriesAll.start_workflow(client, input=1.0, id=new_id())
        await handle.signal(TriesAll.cancel)
        await handle.result()
        kept.append(await handle.fetch_history())

    run(temporal_address, 600, body)
    shared = registry.shareable_modules(["tests.apps.lab"])
    plugins: Any = fleet_plugins(shared)
    asyncio.run(Replayer(workflows=[TriesAll], plugins=plugins).replay_workflow(kept[0]))
    monkeypatch.setattr(registry, "_handlers", {})
    asyncio.run(Replayer(workflows=[TriesAll], plugins=plugins).replay_workflow(kept[0]))


def test_what_was_refused_stays_so_after_the_queue_is_served(temporal_address: str) -> None:
    workflow_id = new_id()

    async def begin(client: Client) -> None:
        await waits(await TriesAll.start_workflow(client, input=1.0, id=workflow_id))

    async def end(client: Client) -> None:
        handle = TriesAll.get_handle(client, workflow_id)
        await handle.signal(TriesAll.cancel)
        assert await handle.result() == [*SEEN, "6"]

    run(temporal_address, 600, begin)
    run(temporal_address, 600, end, external_queues=["typo"])


@CACHES
def test_an_update_that_is_refused_harms_its_sender_only(temporal_address: str, cache: int) -> None:
    async def body(client: Client) -> None:
        handle = await TriesAll.start_workflow(client, input=1.0, id=new_id())
        with pytest.raises(WorkflowUpdateFailedError) as failed:
            await handle.execute_update(TriesAll.call, "missing")
        assert isinstance(failed.value.cause, ApplicationError)
        assert failed.value.cause.type == "UnknownActivity"
        assert await handle.execute_update(TriesAll.call, "length") == "1"
        with pytest.raises(WorkflowUpdateFailedError) as misfit:
            await handle.execute_update("call", args=["one", "too many"])
        assert "update call was sent with arguments that do not fit" in str(misfit.value.cause)
        await handle.signal(TriesAll.cancel)
        assert await handle.result() == [*SEEN, "6"]

    run(temporal_address, cache, body)


@CACHES
@pytest.mark.parametrize(("what", "kind"), [("call", "UnservedQueue"), ("undo", "UnknownActivity")])
def test_a_refusal_inside_a_saga_undoes_all_of_it(temporal_address: str, what: str, kind: str, cache: int) -> None:
    async def body(client: Client) -> None:
        handle = await BooksWrongly.start_workflow(client, input=what, id=new_id())
        with pytest.raises(WorkflowFailureError) as caught:
            await handle.result()
        assert trips.unbooked[handle.id] == ["ticket for hotel", "ticket for flight"]
        assert isinstance(caught.value.cause, ApplicationError)
        assert caught.value.cause.type == kind
        assert "Did you mean" in caught.value.cause.message or "external_queues" in caught.value.cause.message

    run(temporal_address, cache, body)
