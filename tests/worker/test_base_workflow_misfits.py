"""A result that does not fit its type is an error of the call: code catches it, sagas undo, every replay agrees."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable

import pytest
from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import ActivityError, ApplicationError

from tests.apps.lab import trips
from tests.apps.lab.misfits import MeetsMisfits
from tests.worker.pools import lab_settings, running_pools

CACHES = pytest.mark.parametrize("cache", [600, 0], ids=["cached", "replayed each task"])


def run(address: str, cache: int, body: Callable[[Client], Awaitable[None]]) -> None:
    async def main() -> None:
        worker = {"packages": ["tests.apps.lab"], "drain_timeout_s": 5, "workflow_cache_size": cache}
        async with asyncio.timeout(60), running_pools(lab_settings(address, worker=worker), "lab") as client:
            await body(client)

    asyncio.run(main())


async def failure(client: Client, how: str) -> tuple[str, BaseException]:
    handle = await MeetsMisfits.start_workflow(client, input=how, id=f"test-{uuid.uuid4()}")
    with pytest.raises(WorkflowFailureError) as caught:
        async with asyncio.timeout(20):
            await handle.result()
    assert caught.value.cause is not None
    return handle.id, caught.value.cause


@CACHES
@pytest.mark.parametrize("how", ["activity", "local activity", "child", "gathered", "waited for"])
def test_a_saga_undoes(temporal_address: str, how: str, cache: int) -> None:
    async def body(client: Client) -> None:
        workflow_id, error = await failure(client, how)
        assert isinstance(error, ApplicationError)
        assert error.type == "ResultMisfit"
        kind = {"local activity": "local activity wrong_number", "child": "workflow WrongResult"}
        assert f"the result of {kind.get(how, 'activity wrong_number')} does not fit" in error.message
        assert trips.unbooked[workflow_id] == ["ticket for flight"]

    run(temporal_address, cache, body)


@CACHES
def test_code_catches_it_and_goes_on(temporal_address: str, cache: int) -> None:
    async def body(client: Client) -> None:
        got = await MeetsMisfits.execute_workflow(client, input="caught", id=f"test-{uuid.uuid4()}")
        kinds = ("activity", "local activity", "child", "gathered", "waited for")
        assert got == [*(f"{kind}: ResultMisfit" for kind in kinds), "5"]

    run(temporal_address, cache, body)


def test_an_undo_with_a_wrong_result_is_done_and_keeps_no_other_from_running(temporal_address: str) -> None:
    async def body(client: Client) -> None:
        workflow_id, error = await failure(client, "undo")
        assert isinstance(error, ActivityError), "the step's own error"
        assert trips.unbooked[workflow_id] == ["ticket for flight"]

    run(temporal_address, 0, body)


def test_an_undo_that_cannot_be_sent_is_refused_when_it_is_added(temporal_address: str) -> None:
    async def body(client: Client) -> None:
        workflow_id, error = await failure(client, "argument of an undo")
        assert isinstance(error, ApplicationError)
        assert error.type == "BadArgument"
        assert "an argument of unbook cannot be sent" in error.message
        assert trips.unbooked[workflow_id] == ["ticket for flight"]

    run(temporal_address, 0, body)


def test_errors_of_a_task_group_fail_the_run(temporal_address: str) -> None:
    async def body(client: Client) -> None:
        workflow_id, error = await failure(client, "taskgroup")
        assert isinstance(error, ApplicationError)
        assert error.type == "ExceptionGroup"
        assert trips.unbooked[workflow_id] == ["ticket for flight"]

    run(temporal_address, 0, body)
