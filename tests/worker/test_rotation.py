"""A new connection of the client service (its certificate was renewed, say) becomes that of running workers."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

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
        async with wire_to(temporal_address) as wire, running_manager(lab_settings(wire.address), "lab") as running:

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
