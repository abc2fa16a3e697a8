"""Values over the server's limit: an error at the line that makes them, for good, and never a run that hangs."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from temporalio.api.common.v1 import Payloads
from temporalio.client import Client, WorkflowFailureError, WorkflowUpdateFailedError
from temporalio.exceptions import ActivityError, ApplicationError
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Replayer

from app.core.services.temporal import payloads, plugin
from app.core.services.temporal.payloads import LimitedPayloadConverter
from app.core.services.temporal.plugin import fleet_plugins
from app.worker.registry import registry
from tests.apps.lab.large import Carries, Load
from tests.worker.pools import lab_settings, running_pools

TOO_MUCH = payloads.DEFAULT_LIMIT_BYTES + 1
MORE_THAN_A_MESSAGE = 5 * 1024 * 1024


def run(address: str, body: Callable[[Client], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(60), running_pools(lab_settings(address), "lab") as client:
            await body(client)

    asyncio.run(main())


def new_id() -> str:
    return f"test-{uuid.uuid4()}"


@pytest.mark.parametrize("size", [TOO_MUCH, MORE_THAN_A_MESSAGE])
@pytest.mark.parametrize(
    "way",
    [
        "activity",
        "activity result",
        "local activity",
        "local activity result",
        "child",
        "next run",
        "result",
    ],
)
def test_too_much_fails_the_run_for_good(temporal_address: str, way: str, size: int) -> None:
    async def body(client: Client) -> None:
        with pytest.raises(WorkflowFailureError) as caught:
            await Carries.execute_workflow(client, input=Load(way=way, size=size), id=new_id())
        error: BaseException | None = caught.value.cause
        if isinstance(error, ActivityError):
            error = error.cause
        assert isinstance(error, ApplicationError)
        assert (error.type, error.non_retryable) == ("PayloadTooLarge", True)
        assert f"of {size / 1024 / 1024:.1f} MB, and Temporal takes 2.0 MB" in error.message
        assert "pass its key" in error.message

    run(temporal_address, body)


@pytest.mark.parametrize("way", ["activity", "activity result", "child", "next run", "result"])
def test_what_fits_passes(temporal_address: str, way: str) -> None:
    async def body(client: Client) -> None:
        fits = payloads.DEFAULT_LIMIT_BYTES - 1000
        result = await Carries.execute_workflow(client, input=Load(way=way, size=fits), id=new_id())
        assert len(result) == (fits if way == "result" else len("done"))

    run(temporal_address, body)


@pytest.mark.parametrize("way", ["activity", "activity result", "result"])
def test_the_limit_is_met_to_the_byte(temporal_address: str, way: str) -> None:
    """A value of the limit itself passes, and of one byte more fails instead of hanging."""
    one = len(Payloads(payloads=LimitedPayloadConverter().to_payloads(["x" * 2_000_000])).SerializeToString())
    fits = payloads.DEFAULT_LIMIT_BYTES - (one - 2_000_000)

    async def body(client: Client) -> None:
        for more in range(1, 6):
            with pytest.raises(WorkflowFailureError):
                await Carries.execute_workflow(client, input=Load(way=way, size=fits + more), id=new_id())
        await Carries.execute_workflow(client, input=Load(way=way, size=fits), id=new_id())

    run(temporal_address, body)


@pytest.mark.parametrize("way", ["activity", "child", "result", "caught"])
@pytest.mark.parametrize("limits", [(3, 2), (2, 3)], ids=["lower by then", "higher by then"])
def test_a_replay_agrees_whatever_limit_it_knows(
    temporal_address: str, way: str, limits: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[Any] = []
    before, after = (limit * 1024 * 1024 - 500_000 for limit in limits)

    async def learns_nothing(_: Client) -> None: ...

    monkeypatch.setattr(plugin, "learn_limit", learns_nothing)
    monkeypatch.setattr(payloads, "_limit_bytes", min(before, payloads.DEFAULT_LIMIT_BYTES))

    async def body(client: Client) -> None:
        handle = await Carries.start_workflow(client, input=Load(way=way, size=1_800_000), id=new_id())
        with contextlib.suppress(WorkflowFailureError):
            await handle.result()
        kept.append(history := await handle.fetch_history())
        markers = [e for e in history.events if e.HasField("marker_recorded_event_attributes")]
        assert bool(markers) is (before < after)

    run(temporal_address, body)
    monkeypatch.setattr(payloads, "_limit_bytes", after)
    plugins: Any = fleet_plugins(registry.shareable_modules(["tests.apps.lab"]))
    asyncio.run(Replayer(workflows=[Carries], plugins=plugins).replay_workflow(kept[0]))


def test_workflow_code_may_catch_it_and_go_on(temporal_address: str) -> None:
    async def body(client: Client) -> None:
        result = await Carries.execute_workflow(client, input=Load(way="caught", size=TOO_MUCH), id=new_id())
        assert result == "PayloadTooLarge, then 5"

    run(temporal_address, body)


def test_updates_that_are_too_large_leave_the_run_alone(temporal_address: str) -> None:
    async def body(client: Client) -> None:
        handle = await Carries.start_workflow(client, input=Load(way="waits", size=0), id=new_id())
        with pytest.raises(RPCError, match="Blob data size exceeds limit: str and int of 2.0 MB") as refused:
            await handle.execute_update(Carries.echo, args=["x" * TOO_MUCH, 1])
        assert refused.value.status == RPCStatusCode.INVALID_ARGUMENT
        load = Load(way="waits", size=0)
        with pytest.raises(RPCError, match="Blob data size exceeds limit"):
            await Carries.update_with_start(client, Carries.echo, "x" * TOO_MUCH, 1, input=load, id=new_id())
        with pytest.raises(WorkflowUpdateFailedError) as failed:
            await handle.execute_update(Carries.echo, args=["x", TOO_MUCH])
        assert "PayloadTooLarge" in str(failed.value.cause)
        await handle.signal(Carries.cancel)
        assert await handle.result() == "done"

    run(temporal_address, body)


def test_the_limit_is_the_servers_own(temporal_address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payloads, "_limit_bytes", 10)

    async def body(client: Client) -> None:
        async with asyncio.timeout(10):
            while payloads._limit_bytes == 10:
                await asyncio.sleep(0.05)
        assert payloads._limit_bytes == payloads.DEFAULT_LIMIT_BYTES

    run(temporal_address, body)
