"""The pools of some packages, run in the test's own process on a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from temporalio.client import Client

from app.core.config import use
from app.core.config.model import Settings
from app.core.exit import ExitCode
from app.worker.discovery import discover
from app.worker.in_flight import InFlight
from app.worker.manager import WorkerManager

NO_WAIT_S = 0.01
"""Of a drain for its polls: nobody else has work on the queues of a test that does not say otherwise."""


def lab_settings(address: str, **temporal: Any) -> Settings:
    """Settings for tests/apps/lab; retries are off so that a failure is seen at once."""
    return Settings.model_validate(
        {
            "temporal": {
                "address": address,
                "worker": {"packages": ["tests.apps.lab"], "drain_timeout_s": 5, "polls_timeout_s": NO_WAIT_S},
                "activities": {"start_to_close_timeout_s": 20, "retry": {"maximum_attempts": 1}},
                **temporal,
            }
        }
    )


@dataclass(frozen=True)
class Running:
    """A manager at work, a client of its server, and what ends it."""

    manager: WorkerManager
    client: Client
    ending: asyncio.Task[ExitCode]
    stop: asyncio.Event


@asynccontextmanager
async def running_manager(settings: Settings, *queues: str) -> AsyncIterator[Running]:
    """`queues` are served for as long as the block lasts, or until they end by themselves."""
    use(settings)
    manager = WorkerManager(discover(settings, queues), settings, queues, InFlight())
    stop = asyncio.Event()
    run = asyncio.create_task(manager.run(stop))
    try:
        async with asyncio.timeout(20):
            while manager.state.phase != "running":
                await asyncio.sleep(0.02)
        yield Running(manager, await manager.service.get_client(), run, stop)
    finally:
        stop.set()
        await run


@asynccontextmanager
async def running_pools(settings: Settings, *queues: str) -> AsyncIterator[Client]:
    """A client of the server; `queues` are served for as long as the block lasts."""
    async with running_manager(settings, *queues) as running:
        yield running.client
