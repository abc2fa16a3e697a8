"""A load balancer as the simplest ones are: connections in turn to whoever is ready, which it sees with a lag.

It relays bytes, retries nothing, and leaves a connection where it is until one side ends it, as a Kubernetes Service
does. Rejected: nginx or HAProxy, which would hide failures by trying again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import cycle

HOST = "127.0.0.1"


class Balancer:
    """Listens at `port`, in front of the backends at `ports`, whose readiness it asks for every `every_s`."""

    def __init__(self, ports: Sequence[int], every_s: float) -> None:
        self.port = 0
        self.ready: set[int] = set()
        self._ports = ports
        self._every_s = every_s
        self._turn: Iterator[int] = cycle(ports)
        self._relays: set[asyncio.Task[None]] = set()

    async def watch(self, port: int) -> None:
        """Keep `ready` right for one backend, for ever."""
        while True:
            try:
                async with asyncio.timeout(5):
                    reader, writer = await asyncio.open_connection(HOST, port)
                    writer.write(b"GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
                    ok = (await reader.readline()).split()[1:2] == [b"200"]
                    writer.close()
            except (OSError, TimeoutError):
                ok = False
            (self.ready.add if ok else self.ready.discard)(port)
            await asyncio.sleep(self._every_s)

    async def relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of a client, to its end."""
        port = next((port for port in (next(self._turn) for _ in self._ports) if port in self.ready), None)
        try:
            if port is None:
                return
            upstream, to = await asyncio.open_connection(HOST, port)
            await asyncio.gather(_copy(reader, to), _copy(upstream, writer))
        except OSError:
            pass
        finally:
            writer.close()

    async def taken(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self.relay(reader, writer))
        self._relays.add(task)
        task.add_done_callback(self._relays.discard)

    async def close(self) -> None:
        for task in list(self._relays):
            task.cancel()
        await asyncio.gather(*self._relays, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    finally:
        with suppress(OSError):
            writer.close()


@asynccontextmanager
async def balancer(ports: Sequence[int], every_s: float = 0.2) -> AsyncIterator[Balancer]:
    """A running one; it begins when all backends are ready."""
    made = Balancer(ports, every_s)
    watches = [asyncio.create_task(made.watch(port)) for port in ports]
    listening = await asyncio.start_server(made.taken, HOST, 0, backlog=512)
    made.port = listening.sockets[0].getsockname()[1]
    try:
        async with asyncio.timeout(60):
            while len(made.ready) < len(ports):
                await asyncio.sleep(0.05)
        yield made
    finally:
        for watch in watches:
            watch.cancel()
        listening.close()
        await made.close()
