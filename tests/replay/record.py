"""Record the histories anew: `python -m tests.replay.record`. Needed only when the recorded workflows change.

Runs each scene on a real server and writes what Temporal kept of it, without the stack traces, which name this machine.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.service import RPCError

from app.core.config.model import Settings
from app.core.ports import free_port
from app.worker.activities.models import OrderInput
from app.worker.workflows.orders import OrderWorkflow
from tests.local.dev_fleet import ORDER
from tests.parts.temporal import ready, start_server, stop_server
from tests.replay.workflows import Tour
from tests.worker.pools import running_pools

HISTORIES = Path(__file__).parent / "histories"
PACKAGES = ("app.worker.workflows", "app.worker.activities", "tests.replay.workflows", "tests.replay.activities")
Handle = WorkflowHandle[Any, Any]


def recording_settings(address: str, folder: str) -> Settings:
    return Settings.model_validate(
        {
            "temporal": {"address": address, "worker": {"packages": PACKAGES, "identity": "recorder"}},
            "local": {"data_dir": folder},
        }
    )


async def order(client: Client, name: str, **changes: Any) -> Handle:
    placed = OrderInput.model_validate({"order_id": name, **ORDER, **changes})
    return await OrderWorkflow.start_workflow(client, input=placed, id=f"order-{name}")


async def order_completed(client: Client) -> Handle:
    return await _ended(await order(client, "completed"))


async def order_undone(client: Client) -> Handle:
    return await _ended(await order(client, "undone", address="Atlantis"))


async def order_cancelled(client: Client) -> Handle:
    handle = await order(client, "cancelled")
    await _state(handle, lambda state: state.get("step") == "reservation")
    await handle.signal(OrderWorkflow.cancel, "changed my mind")
    return await _ended(handle)


async def tour(client: Client) -> Handle:
    """Goes on with the run that tour_open began."""
    handle: Handle = Tour.get_handle(client, "tour")
    await handle.signal(Tour.cancel, "enough")
    return await _ended(handle)


async def tour_open(client: Client) -> Handle:
    handle = await Tour.start_workflow(client, input="Paris", id="tour")
    while '"Missed"' not in (await handle.fetch_history()).to_json():
        await asyncio.sleep(0.1)
    return handle


SCENES: Mapping[str, Callable[[Client], Awaitable[Handle]]] = {
    "tour-open": tour_open,
    "tour": tour,
    "order-completed": order_completed,
    "order-undone": order_undone,
    "order-cancelled": order_cancelled,
}


async def _state(handle: Handle, wanted: Callable[[dict[str, Any]], bool]) -> None:
    while True:
        with suppress(RPCError):
            if wanted(await handle.query(OrderWorkflow.state)):
                return
        await asyncio.sleep(0.05)


async def _ended(handle: Handle) -> Handle:
    with suppress(WorkflowFailureError):
        await handle.result()
    return handle


def _without_stack_traces(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_stack_traces(below) for key, below in value.items() if key != "stackTrace"}
    return [_without_stack_traces(below) for below in value] if isinstance(value, list) else value


async def record(address: str, folder: str) -> None:
    queues = ("orders", "payments", "tour", "tour-abroad")
    async with running_pools(recording_settings(address, folder), *queues) as client:
        for name, scene in SCENES.items():
            history = json.loads((await (await scene(client)).fetch_history()).to_json())
            text = json.dumps(_without_stack_traces(history), separators=(",", ":"))
            (HISTORIES / f"{name}.json").write_text(text.replace('{"eventId"', '\n{"eventId"') + "\n")
            print(f"{name}: {len(history['events'])} events")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        address = f"127.0.0.1:{(port := free_port('127.0.0.1'))}"
        process = start_server(Path(folder), port)
        try:
            asyncio.run(ready(address, process, Path(folder) / "log"))
            asyncio.run(record(address, folder))
        finally:
            stop_server(process)


if __name__ == "__main__":
    main()
