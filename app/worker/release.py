"""Releasing: activities that are still in hand when a drain's budget is spent are failed by their task token.

A body may hold the event loop, swallow its cancel, or sit in a blocking call of a thread; then nothing in this process
can end it, and Temporal would wait for its start-to-close timeout. So the watchdog tells Temporal itself: on its own
thread, with an event loop and a connection of its own, made some time before they are needed. The retry is asked for a
second later, when this process is gone: two bodies of one activity never overlap.

A body that ends in that moment does no harm: whichever answer is second, Temporal refuses it. Results that Temporal has
not taken yet are released as well. Local activities are not: only their workflow task is known to Temporal.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta

from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from app.core.config.temporal import TemporalSettings
from app.core.services.temporal.temporal_client import TemporalClientService, TemporalUnavailable
from app.core.telemetry.runtime import client_runtime
from app.worker.in_flight import InFlight, Running

log = logging.getLogger("app.worker.release")

RETRY_DELAY_S = 1.3
"""From the release to the retry elsewhere; the process must be gone by then: REST_S and drain.LEAVE_S."""
REST_S = 0.4
"""From the first release to the last; what Temporal has not taken by then is abandoned."""
CONNECT_AHEAD_S = 10.0
"""A connection takes some 50 ms, and seconds on a machine that is busy. Most drains end before one is needed."""
CALL_S = 1.0
AGAIN_S = 0.25


class Release:
    """Fails what `in_flight` still has in hand, with a connection of its own."""

    def __init__(self, settings: TemporalSettings, in_flight: InFlight, identity: str | None = None) -> None:
        """`settings` and `identity`: those of the process's own connection."""
        self._settings = settings
        self._identity = identity
        self._in_flight = in_flight

    async def at(self, moment: float, limit_s: float) -> None:
        """Release at `moment` (monotonic seconds), for at most `limit_s` seconds; never raises."""
        try:
            await asyncio.sleep(moment - CONNECT_AHEAD_S - time.monotonic())
            service = TemporalClientService(self._settings, runtime=client_runtime(), identity=self._identity)
            connecting = asyncio.create_task(_connected(service))
            await asyncio.sleep(moment - time.monotonic())
            async with asyncio.timeout(moment + limit_s - time.monotonic()):
                if releasable(self._in_flight):
                    await connecting
                    await self._release(await service.get_client())  # a renewed one, when its credentials were
        except TimeoutError:
            pass  # what is left is told as abandoned
        except Exception:  # the process leaves whatever happens here
            log.exception("drain: the release failed")
        await asyncio.sleep(moment - time.monotonic())

    async def _release(self, client: Client) -> None:
        calls = [
            asyncio.create_task(self._fail(client, token, body)) for token, body in releasable(self._in_flight).items()
        ]
        if calls:
            await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait(calls, timeout=REST_S)

    async def _fail(self, client: Client, token: bytes, body: Running) -> None:
        error = ApplicationError(
            "the time to drain is over and this body is still at work: its worker leaves, another one runs it again",
            type="DrainDeadline",
            next_retry_delay=timedelta(seconds=RETRY_DELAY_S),
        )
        handle = client.get_async_activity_handle(task_token=token)
        newest = self._in_flight.checkpoints.get(token, ())
        while True:
            try:
                await handle.fail(error, last_heartbeat_details=newest, rpc_timeout=timedelta(seconds=CALL_S))
            except RPCError as refusal:
                if refusal.status != RPCStatusCode.NOT_FOUND:
                    log.warning("drain: %s was not released: %s", body, refusal.message)
                    await asyncio.sleep(AGAIN_S)
                    continue
                # Its result came first, or nobody waits for it any more.
            if token in self._in_flight.in_hand():
                self._in_flight.released.add(token)
            return


def releasable(in_flight: InFlight) -> Mapping[bytes, Running]:
    """By task token, what Temporal can be told of."""
    return {token: body for token, body in in_flight.in_hand().items() if not body.is_local}


async def _connected(service: TemporalClientService) -> None:
    """Wait until server and namespace have answered: the first call of a connection is a slow one."""
    while True:
        with suppress(TemporalUnavailable):
            await service.verify()
            return
        await asyncio.sleep(AGAIN_S)
