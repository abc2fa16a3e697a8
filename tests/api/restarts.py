"""The API restarted under load behind a load balancer, and what became of every request. Nobody retries anything.

Three kinds of callers: who keeps a connection, who makes one for each request, and who waits for an order to end. Any
error of a connection and any answer but 200 and 202 is a failed request.
"""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from httpx2 import AsyncClient, HTTPError, Response
from temporalio.client import Client

from tests.api.balancer import balancer
from tests.api.served import Served
from tests.local.dev_fleet import ORDER

WAIT_S = 25
"""Longer than the API finishes requests: a wait that it does not end itself is cut."""


@dataclass
class Seen:
    """What the callers saw."""

    answers: Counter[str] = field(default_factory=Counter)
    """By kind of caller; only what was right."""
    failures: list[str] = field(default_factory=list)
    """In words."""

    @property
    def requests(self) -> int:
        return self.answers.total() + len(self.failures)

    async def ask(self, kind: str, answer: Callable[[], Any]) -> None:
        """Count one request."""
        try:
            got: Response = await answer()
        except HTTPError as error:
            self.failures.append(f"{kind}: {type(error).__name__} {error}")
        else:
            if got.status_code in (200, 202):
                self.answers[kind] += 1
            else:
                self.failures.append(f"{kind}: {got.status_code} {got.text[:200]}")


class Callers:
    """The load: `each` callers of each kind, until `stop`."""

    def __init__(self, url: str, open_order: str, ended_order: str, each: int) -> None:
        self.seen = Seen()
        self._url = url
        self._open = f"/orders/{open_order}?wait={WAIT_S}"
        self._ended = f"/orders/{ended_order}"
        self._stop = asyncio.Event()
        kinds = (self._keeping, self._anew, self._waiting)
        self._tasks = [asyncio.create_task(kind()) for kind in kinds for _ in range(each)]

    async def stop(self) -> Seen:
        """Let the requests end that are under way."""
        self._stop.set()
        await asyncio.gather(*self._tasks)
        return self.seen

    async def _keeping(self) -> None:
        async with AsyncClient(base_url=self._url, timeout=60) as client:
            while not self._stop.is_set():
                await self.seen.ask("kept", partial(client.get, self._ended))
                await asyncio.sleep(random.uniform(0, 0.1))

    async def _anew(self) -> None:
        while not self._stop.is_set():
            async with AsyncClient(base_url=self._url, timeout=60) as client:
                order = {**ORDER, "order_id": str(uuid.uuid4())}
                await self.seen.ask("anew", partial(client.post, "/orders", json=order))
            await asyncio.sleep(random.uniform(0, 0.1))

    async def _waiting(self) -> None:
        async with AsyncClient(base_url=self._url, timeout=60) as client:
            while not self._stop.is_set():
                await self.seen.ask("waiting", partial(client.get, self._open))


@dataclass(frozen=True)
class Restart:
    """One of them: what the process left with, and how long it took after SIGTERM."""

    code: int
    seconds: float


async def orders(temporal: str) -> tuple[str, str]:
    """Two orders that no worker touches: an open one, and one that has ended."""
    client = await Client.connect(temporal)
    names = str(uuid.uuid4()), str(uuid.uuid4())
    handles = [await client.start_workflow("Nobody", id=f"order-{name}", task_queue="nobody") for name in names]
    await handles[1].terminate()
    return names


async def restarted(
    temporal: str,
    backends: list[Served],
    restarts: int,
    each: int = 4,
    done: Callable[[Restart, Seen], None] = lambda restart, seen: None,
    pre_stop_s: float = 0,
) -> tuple[Seen, list[Restart]]:
    """Restart the backends in turn under load, `restarts` times in all; `done` after each, with all seen by the next.

    `pre_stop_s`: how long before its SIGTERM a backend gets no new connections any more, as with a preStop sleep.
    """
    made: list[Restart] = []
    open_order, ended_order = await orders(temporal)
    async with balancer([backend.port for backend in backends]) as front:
        callers = Callers(f"http://127.0.0.1:{front.port}", open_order, ended_order, each)
        for number in range(restarts):
            backend = backends[number % len(backends)]
            await asyncio.sleep(random.uniform(0.5, 1.5))
            if made:
                done(made[-1], callers.seen)
            if pre_stop_s:
                front.removed.add(backend.port)
                await asyncio.sleep(pre_stop_s)
            begin = time.monotonic()
            code = await asyncio.to_thread(backend.stop)
            made.append(Restart(code, round(time.monotonic() - begin, 2)))
            backend.start()
            await asyncio.to_thread(backend.ready)
            front.removed.discard(backend.port)
            async with asyncio.timeout(60):
                while backend.port not in front.ready:
                    await asyncio.sleep(0.05)
        await (await Client.connect(temporal)).get_workflow_handle(f"order-{open_order}").terminate()
        seen = await callers.stop()
        done(made[-1], seen)
        return seen, made
