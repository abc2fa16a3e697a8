"""Connecting to Temporal, for as long as it takes: a restart of the process would not bring Temporal back.

What trying again cannot help (no such namespace, not permitted) is raised at once. Under a running worker a namespace
may go as well: the SDK bears that for two minutes, in which work seems to wait for a worker that there is.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Coroutine
from typing import Any

from temporalio.client import Client

from app.core.services.temporal.temporal_client import Health, TemporalClientService, TemporalUnavailable
from app.worker.health import WorkerState

log = logging.getLogger("app.worker.connect")

BACKOFF_S = (0.5, 1.0, 2.0, 5.0, 10.0)
MISSING_CHECKS = 3
"""Checks that miss the namespace, one after the other, before it is gone; frontends learn of changes within 10 s."""


def backoff_s(attempt: int, steps: tuple[float, ...] = BACKOFF_S) -> float:
    """The pause after failed try `attempt` (0 is the first): a step, give or take a fifth, so that a fleet spreads."""
    return steps[min(attempt, len(steps) - 1)] * random.uniform(0.8, 1.2)


class NamespaceMissing:
    """Whether the namespace is gone, and not just unknown to the one frontend that was asked."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._times = 0

    def after(self, health: Health) -> TemporalUnavailable | None:
        """What to end the workers with, after so many checks in a row that miss it."""
        self._times = self._times + 1 if health.namespace_missing else 0
        if self._times < MISSING_CHECKS:
            return None
        return TemporalUnavailable(self._address, health.error, permanent=True)


async def first(*waits: Coroutine[Any, Any, Any]) -> None:
    """Returns when one of `waits` ends; the others are cancelled."""
    tasks = [asyncio.create_task(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


async def connect(
    service: TemporalClientService, state: WorkerState, stop: asyncio.Event, timeout_s: float | None = None
) -> Client | None:
    """The client, once server and namespace answer; None when `stop` came first. `timeout_s` None is for ever.

    Raises TemporalUnavailable when trying again cannot help, or when the time is over.
    """
    begin = time.monotonic()
    attempt = 0
    while not stop.is_set():
        verifying = asyncio.create_task(service.verify())
        await first(stop.wait(), asyncio.wait({verifying}))
        if stop.is_set():
            verifying.cancel()
            return None
        try:
            client = verifying.result()
        except TemporalUnavailable as failure:
            state.problem = str(failure)
            waited = time.monotonic() - begin
            if failure.permanent or (timeout_s is not None and waited >= timeout_s):
                log.error("%s Giving up after %.0f s.", failure, waited)
                raise
            pause = backoff_s(attempt)
            if timeout_s is not None:
                pause = min(pause, timeout_s - waited)
            log.warning("%s Next try in %.1f s.", failure, pause)
            attempt += 1
            await first(stop.wait(), asyncio.sleep(pause))
        else:
            state.temporal_answered_at = time.monotonic()
            state.problem = ""
            return client
    return None
