"""What is done when the polls of a running worker do not come through: it is said, and a dead connection is replaced.

A worker whose connection has died under it (its certificate expired, a load balancer sends it nowhere) is a zombie: its
process lives, its polls fail for ever, and the SDK raises nothing. So when polls have had no success for a blip and
Temporal answers on a new connection, the workers go on with that one. One that a few new connections do not help ends,
and the policy of `supervise` follows. Where the server itself says no, a connection is no remedy and nothing is ended
here: the SDK does that in a minute, and until then somebody may put right what is wrong.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Sequence

from app.core.services.temporal.temporal_client import TemporalClientService, TemporalUnavailable
from app.worker.health import WorkerState, sdk_page
from app.worker.poll_counts import NO_ANSWER, SILENCE, PollCounts, Trouble
from app.worker.supervise import Pool

log = logging.getLogger("app.worker.poll_watch")

LOOK_S = 1.0
HEAL_S = 15.0
"""Between two new connections: the SDK's longest pause before it tries a poll again is 12 s."""
HEALS = 3
"""New connections that do not help, one after the other, before the worker ends."""
_TOO_MUCH = "RESOURCE_EXHAUSTED"


class PollWatch:
    """Watches the polls of `pools`, all of one process."""

    def __init__(self, service: TemporalClientService, pools: Sequence[Pool], state: WorkerState) -> None:
        self._service = service
        self._pools = {pool.queue: pool for pool in pools}
        self._state = state
        self._counts = PollCounts(self._pools)
        self._told: dict[str, Trouble] = {}
        self._heals: Counter[str] = Counter()
        self._heal_at = 0.0

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                page = await asyncio.to_thread(sdk_page, self._state.sdk_metrics)
            except (OSError, ValueError):
                pass  # /metrics says so: fleet_worker_sdk_metrics_up
            else:
                await self._look(page.decode(), time.monotonic())
            await asyncio.sleep(LOOK_S)

    async def _look(self, page: str, now: float) -> None:
        self._counts.look(page, now)
        # A worker that has ended does not poll: `down` says why, and its next one begins anew.
        troubles = {q: t for q, t in self._counts.troubles(now).items() if q not in self._state.down}
        self._tell(troubles, now)
        dead = [t for t in troubles.values() if not t.refused and t.status != _TOO_MUCH]
        if dead and now >= self._heal_at:
            self._heal_at = now + HEAL_S
            await self._heal(dead)

    def _tell(self, troubles: dict[str, Trouble], now: float) -> None:
        for queue, trouble in troubles.items():
            if queue not in self._told:
                more = " The SDK tries on for a minute, then the worker ends." if trouble.refused else ""
                log.warning("queue %s: its polls do not come through: %s.%s", queue, trouble, more)
        for queue in self._told.keys() - troubles.keys():
            if queue not in self._state.down:
                log.info("queue %s: its polls come through again, after %.0f s", queue, now - self._told[queue].since)
            del self._heals[queue]
        self._told = troubles
        self._state.polls_failing = {queue: str(trouble) for queue, trouble in troubles.items()}

    async def _heal(self, dead: Sequence[Trouble]) -> None:
        try:
            client = await self._service.renew()
        except TemporalUnavailable:
            return  # it is away for everybody: the SDK is back when it is
        for trouble in dead:
            pool = self._pools[trouble.queue]
            self._heals[trouble.queue] += 1
            # In a drain no poll begins that could show the end of a trouble, and results may still wait to be told.
            ends = self._state.phase != "draining" and trouble.status in (NO_ANSWER, SILENCE)
            if ends and self._heals[trouble.queue] > HEALS:
                del self._heals[trouble.queue]
                pool.fail(RuntimeError(f"{trouble}, also on {HEALS} new connections on which Temporal answers"))
                continue
            log.warning(
                "queue %s: %s, and Temporal answers on a new connection: the worker goes on with that one",
                trouble.queue,
                trouble,
            )
            pool.use(client)
