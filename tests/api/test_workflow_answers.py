"""What a workflow says no to: a route of any app needs no handling for it. Real workflows on a real worker."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from fastapi import FastAPI
from httpx2 import ASGITransport, AsyncClient, Response
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleSpec,
    WorkflowHandle,
)
from temporalio.common import QueryRejectCondition
from temporalio.service import RPCError

from app.api.http import problems
from tests.api.test_problems import told
from tests.apps.lab.answers import Refuses
from tests.worker.pools import lab_settings, running_pools

Ask = Callable[[Client, WorkflowHandle[Any, Any]], Awaitable[object]]


def answered(address: str, ask: Ask, reason: str = "", *queues: str) -> Response:
    """What a caller of a route gets that does no more than `ask`; the workflow fails with `reason` if there is one."""

    async def main() -> Response:
        async with asyncio.timeout(60), running_pools(lab_settings(address), *queues or ("lab",)) as temporal:
            handle = await Refuses.start_workflow(temporal, input=reason, id=f"test-{uuid.uuid4()}")
            app = FastAPI()
            problems.install(app)

            @app.get("/")
            async def route() -> None:
                await ask(temporal, handle)

            transport = ASGITransport(app, raise_app_exceptions=False)
            async with AsyncClient(transport=transport, base_url="http://front") as client:
                answer = await client.get("/")
            with suppress(RPCError):  # it has ended by itself
                await handle.terminate()
            return answer

    return asyncio.run(main())


async def rise(by: int, _: Client, handle: WorkflowHandle[Any, Any]) -> None:
    await handle.execute_update("rise", by)


def test_an_update_that_the_workflow_refuses_is_422_with_its_words(temporal_address: str) -> None:
    for by, words in ((-1, "only upwards"), (10, "no higher than 9")):
        answer = answered(temporal_address, partial(rise, by))
        assert words in told(answer, 422, "the workflow refuses the update")


def test_an_update_that_is_not_taken_in_time_is_503(temporal_address: str) -> None:
    limit = timedelta(seconds=1)
    answer = answered(
        temporal_address,
        lambda _, handle: handle.execute_update("rise", 1, rpc_timeout=limit),
        "",
        "lab-other",
    )
    assert "with the same id" in told(answer, 503, "the workflow did not answer in time")


def test_a_query_that_fails_is_422_and_one_that_there_is_not_404(temporal_address: str) -> None:
    failed = answered(temporal_address, lambda _, handle: handle.query("height"))
    assert "not measured yet" in told(failed, 422, "the workflow cannot answer the query")
    missing = answered(temporal_address, lambda _, handle: handle.query("width"))
    assert "width" in told(missing, 404, "no such query")


def test_a_query_that_its_own_condition_rejects_is_409(temporal_address: str) -> None:
    async def ask(_: Client, handle: WorkflowHandle[Any, Any]) -> None:
        await handle.terminate()
        await handle.query("height", reject_condition=QueryRejectCondition.NOT_OPEN)

    answer = answered(temporal_address, ask)
    assert "the workflow is terminated" in told(answer, 409, "not possible as things stand")


def test_a_workflow_that_failed_is_500_with_the_root_cause(temporal_address: str) -> None:
    answer = answered(temporal_address, lambda _, handle: handle.result(), "the card is blocked")
    assert "the card is blocked" in told(answer, 500, "the workflow failed")


@pytest.fixture
def schedule_id(temporal_address: str) -> Iterator[str]:
    name = f"test-{uuid.uuid4()}"
    yield name

    async def delete() -> None:
        await (await Client.connect(temporal_address)).get_schedule_handle(name).delete()

    asyncio.run(delete())


def test_a_schedule_that_there_is_already_is_409(temporal_address: str, schedule_id: str) -> None:
    async def ask(client: Client, _: WorkflowHandle[Any, Any]) -> None:
        action = ScheduleActionStartWorkflow("Nobody", id="nobody", task_queue="nobody")
        for _again in range(2):
            await client.create_schedule(schedule_id, Schedule(action=action, spec=ScheduleSpec()))

    told(answered(temporal_address, ask), 409, "already exists")
