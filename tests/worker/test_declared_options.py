"""What a call of an activity gets, seen by the activity itself: keyword, else declaration, else configuration."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from temporalio.client import Client

from tests.apps.promised.workflows import Callers, Overlong
from tests.worker.pools import lab_settings, running_pools


def run(address: str, body: Callable[[Client], Awaitable[None]]) -> None:
    async def main() -> None:
        worker = {"packages": ["tests.apps.promised"], "drain_timeout_s": 60}
        settings = lab_settings(address, worker=worker, activities={"retry": {"maximum_attempts": 1}})
        own: dict[str, Any] = {"activities": {"heartbeat_timeout_s": 5, "start_to_close_timeout_s": 18}}
        settings = type(settings).model_validate({**settings.model_dump(), "queues": {"promised": own}})
        async with asyncio.timeout(60), running_pools(settings, "promised") as client:
            await body(client)

    asyncio.run(main())


def test_a_keyword_wins_over_the_declaration_and_that_over_the_configuration(temporal_address: str) -> None:
    async def body(client: Client) -> None:
        seen = await Callers.execute_workflow(client, input=None, id=f"test-{uuid.uuid4()}")
        assert seen["declared"] == seen["by name"] == [9, 4, 3]
        assert seen["keyword"] == [2, 0, 3], "None is a value too"
        assert seen["configured"] == [18, 5, 1]
        assert seen["stacked"] == [8, 5, 1]
        assert seen["method"] == seen["method of its class"] == [7, 5, 1]
        assert seen["object"] == [6, 5, 1]
        assert (seen["local"][0], seen["local keyword"][0]) == (9, 2)

    run(temporal_address, body)


def test_a_call_that_outruns_the_promise_is_told_once_by_the_worker(
    temporal_address: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def body(client: Client) -> None:
        await Overlong.execute_workflow(client, input=3, id=f"test-{uuid.uuid4()}")

    with caplog.at_level(logging.WARNING, "app.worker.outrun"):
        run(temporal_address, body)
    (told,) = [record.getMessage() for record in caplog.records if record.name == "app.worker.outrun"]
    assert told.startswith(
        'a call of all_declared by Overlong breaks its promise (on_drain="finish"): it may take 600 s'
    )
