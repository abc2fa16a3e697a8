"""A new connection of the client service (its certificate was renewed, say) becomes that of running workers."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from app.worker import manager, versions
from tests.apps.lab import workflows as lab
from tests.worker.pools import lab_settings, running_manager

PINGS_BYTES = 2_000
"""What a connection without calls may carry in the time of this test: HTTP/2's own frames."""


@dataclass
class Wire:
    """A port in front of the server, and the bytes that each connection sent to it."""

    address: str = ""
    sent: list[int] = field(default_factory=list)


@asynccontextmanager
async def wire_to(address: str) -> AsyncIterator[Wire]:
    host, port = address.split(":")
    wire = Wire()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int | None) -> None:
        while data := await reader.read(65536):
            if number is not None:
                wire.sent[number] += len(data)
            writer.write(data)
            await writer.drain()
        writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = len(wire.sent)
        wire.sent.append(0)
        upstream = await asyncio.open_connection(host, int(port))
        await asyncio.gather(
            carry(reader, upstream[1], number), carry(upstream[0], writer, None), return_exceptions=True
        )

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    wire.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield wire
    finally:
        server.close()


def test_workers_poll_and_answer_through_the_new_connection(temporal_address: str) -> None:
    async def main() -> None:
        async with (
            wire_to(temporal_address) as wire,
            running_manager(lab_settings(wire.address), "lab") as running,
            asyncio.timeout(60),
        ):

            async def work() -> None:
                client = await running.manager.service.get_client()
                for _ in range(12):
                    await lab.Slept.execute_workflow(client, input=0.01, id=f"test-{uuid.uuid4()}")

            pool = running.manager.pools[0]
            old = pool.worker.client
            await work()
            before = len(wire.sent)
            await running.manager.service.close()  # the next call makes a new connection
            while pool.worker.client is old:
                await asyncio.sleep(0.1)
            assert await running.manager.service.get_client() is pool.worker.client
            await work()  # takes what the old polls still bring
            seen = list(wire.sent)
            await work()
            new = [now - then for now, then in zip(wire.sent, seen, strict=True)]
            assert sum(new[:before]) < PINGS_BYTES < sum(new[before:])

    asyncio.run(main())


def test_a_drain_goes_on_with_the_new_connection_where_work_is_in_hand(
    temporal_address: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(manager, "HEALTH_CHECK_S", 0.1)
    settings = lab_settings(temporal_address, worker={"packages": ["tests.apps.lab"], "drain_timeout_s": 30})

    async def main() -> None:
        async with running_manager(settings, "lab-other", "lab") as running, asyncio.timeout(40):
            state, service = running.manager.state, running.manager.service
            idle, busy = running.manager.pools
            handle = await lab.Slept.start_workflow(running.client, input=8.0, id=f"test-{uuid.uuid4()}")
            while not any(body.workflow_id == handle.id for body in state.in_flight.running.values()):
                await asyncio.sleep(0.02)
            running.stop.set()
            while idle.at_work:
                await asyncio.sleep(0.02)
            old = busy.worker.client
            await service.close()  # the next call makes a new connection
            while busy.worker.client is old and busy.at_work:
                await asyncio.sleep(0.02)
            assert busy.at_work, "it still had the work in hand"
            assert busy.worker.client is await service.get_client()
            assert idle.worker.client is old
            answered = state.temporal_answered_at
            while state.temporal_answered_at == answered and busy.at_work:
                await asyncio.sleep(0.02)
            assert state.temporal_answered_at != answered, "the server is watched on"

    caplog.set_level(logging.ERROR, "app.worker")
    asyncio.run(main())
    # The SDK's own lines may be about work that another test has left.
    assert not [record for record in caplog.records if record.name.startswith("app.")]


def test_a_watch_that_fails_says_so(
    temporal_address: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fails(*_: object) -> None:
        raise AttributeError("no such thing")

    monkeypatch.setattr(versions, "watch", fails)

    def said() -> list[logging.LogRecord]:
        # The SDK's own lines may be about work that another test has left.
        return [record for record in caplog.records if record.name.startswith("app.")]

    async def main() -> None:
        async with running_manager(lab_settings(temporal_address), "lab-other"), asyncio.timeout(20):
            while not said():
                await asyncio.sleep(0.02)

    caplog.set_level(logging.ERROR, "app.worker")
    asyncio.run(main())
    (record,) = said()
    assert record.getMessage().startswith("watching versions failed and is off until the next start: ")
    assert "AttributeError('no such thing')" in record.getMessage()
    assert record.exc_info is None
