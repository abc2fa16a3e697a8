"""A pool: the SDK worker of one task queue, started again when it ends although nobody asked it to.

Such an end is no hiccup: the SDK itself retries for ever what looks like an outage, and bears any other refusal of its
polls for a minute. So there is one policy, and it is bounded: `temporal.worker.restarts` times, further and further
apart; a worker that ran for RAN_WELL_S earns them all back. Then the pool is dead, the other pools drain, and the
process leaves (5) for whoever watches processes to start it anew. Where Temporal says that the namespace is gone or
that we may not poll, no restart is tried (4).

Rejected: restarts without end, which hide a fault from everybody who counts restarts of processes; and none at all,
which cuts the work of every queue of the process when one is refused.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from temporalio.client import Client
from temporalio.worker import Worker

from app.core.config.model import WorkerSettings
from app.core.exit import ExitCode
from app.core.services.temporal.temporal_client import TemporalUnavailable
from app.worker.connect import backoff_s, first
from app.worker.health import WorkerState
from app.worker.polls import Polls
from app.worker.promises import latest_task_s
from app.worker.sticky_queue import StickyQueue

log = logging.getLogger("app.worker.supervise")

RESTART_BACKOFF_S = (1.0, 3.0, 10.0, 30.0)
RAN_WELL_S = 600.0
"""Several times what the SDK bears of refused polls: a worker that only ever does that has not run well."""
SHUTDOWN_S = 3.0
"""What a worker without work needs for its shutdown: its open polls may still deliver for half of that."""

Build = Callable[[Client, Callable[[BaseException], Awaitable[None]], Polls], Worker]
"""A worker of one queue, from the client that it polls with, what to tell of a fatal error, and its polls."""

_STATUS = re.compile(r'Status \{ code: (\w+), message: "((?:[^"\\]|\\.)*)"')
_HOPELESS = ("NotFound", "PermissionDenied", "Unauthenticated")


@dataclass
class Restarts:
    """How many restarts are left: `allowed` in a row."""

    allowed: int
    used: int = 0

    def pause_s(self, ran_s: float) -> float | None:
        """The pause before the next restart of a worker that ran for `ran_s`; None when it had its last."""
        if ran_s >= RAN_WELL_S:
            self.used = 0
        if self.used >= self.allowed:
            return None
        self.used += 1
        return backoff_s(self.used - 1, RESTART_BACKOFF_S)


def why(error: BaseException | None) -> tuple[str, bool]:
    """What the SDK says of a worker's end, in one line, and whether a restart cannot help."""
    if isinstance(error, TemporalUnavailable):
        return str(error).rstrip("."), error.permanent
    while error and error.__cause__:
        error = error.__cause__
    if error is None:
        return "no error given", False
    text = str(error) or type(error).__name__
    if status := _STATUS.search(text):
        return f"Temporal answers {status[1]}: {status[2].rstrip('.')}", status[1] in _HOPELESS
    return text.rstrip("."), False


class Pool:
    """The worker of `queue` and those that replace it."""

    def __init__(
        self,
        queue: str,
        client: Client,
        build: Build,
        connected: Callable[[asyncio.Event], Awaitable[Client | None]],
        settings: WorkerSettings,
        state: WorkerState,
    ) -> None:
        """Builds the first worker, and raises what `build` raises; `run` starts it.

        `connected` waits for Temporal, or for the event that it is given (None); it raises TemporalUnavailable when
        waiting is no use.
        """
        self.queue = queue
        self._build = build
        self._connected = connected
        self._restarts = Restarts(settings.restarts)
        self._patience_s = settings.drain_timeout_s + settings.unwind_timeout_s
        self._state = state
        self._leaving = asyncio.Event()
        self._failed = asyncio.Event()
        self._failure: BaseException | None = None
        self._ran_s = 0.0
        self._work: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self.quiesce_s = latest_task_s(settings)
        """How long, at most, a drain waits for open polls."""
        self.polls = Polls()
        """Of the worker that is at work."""
        self.worker = build(client, self._failing, self.polls)

    @property
    def at_work(self) -> bool:
        """Whether a worker polls, or still has work in hand."""
        return self._work is not None and not self._work.done()

    def use(self, client: Client) -> None:
        """Poll, and tell results, with `client` from now on; a worker that has ended is left alone."""
        if self.at_work and self.worker.client is not client:
            with suppress(AttributeError):  # the SDK's worker lets go of its core a moment before it has ended
                self.worker.client = client

    def fail(self, error: BaseException) -> None:
        """End the worker because of `error`, which the SDK does not see; it goes on as if the SDK had raised it."""
        if self.at_work and not self._failed.is_set():
            self._failure = error
            self._failed.set()
            self._ending = asyncio.create_task(self.worker.shutdown())

    async def run(self) -> ExitCode | None:
        """Keep a worker running until `drain` (None), or until it is given up (the code to leave with)."""
        error = await self._run_worker()
        while not self._leaving.is_set():
            reason, hopeless = why(error)
            self._state.down[self.queue] = reason
            if hopeless:
                log.error("queue %s: its worker ended: %s. A restart cannot help: giving up.", self.queue, reason)
                return ExitCode.CANNOT_CONNECT
            pause_s = self._restarts.pause_s(self._ran_s)
            if pause_s is None:
                log.error(
                    "queue %s: its worker ended: %s. It had its %d restarts (temporal.worker.restarts): giving up.",
                    self.queue,
                    reason,
                    self._restarts.allowed,
                )
                return ExitCode.POOL_DIED
            log.warning(
                "queue %s: its worker ended: %s. Starting it again in %.1f s (restart %d of %d).",
                self.queue,
                reason,
                pause_s,
                self._restarts.used,
                self._restarts.allowed,
            )
            await first(self._leaving.wait(), asyncio.sleep(pause_s))
            error = await self._restart()
        return None

    async def drain(self, *, refused: bool = False) -> None:
        """Stop polling, and let the work in hand finish; `run` then returns. `refused`: Temporal wants none of us."""
        self._leaving.set()
        if refused:
            self._failed.set()
        if self._work and self.at_work and not self._failed.is_set():
            _announce(self.worker)
            quiet = self.polls.quiesce(self.quiesce_s, self._has_bodies, StickyQueue(self.worker))
            await first(quiet, self._failed.wait(), asyncio.wait({self._work}))
            if not self._failed.is_set() and (polls := self.polls.cut):
                log.info("queue %s: %d open polls are cut; a task on its way waits for its timeout", self.queue, polls)
        await first(self.worker.shutdown(), self._failed_and_idle())

    def _has_bodies(self) -> bool:
        return any(body.queue == self.queue for body in list(self._state.in_flight.running.values()))

    def _has_work(self) -> bool:
        """Bodies, and results that Temporal has not taken."""
        return any(body.queue == self.queue for body in self._state.in_flight.in_hand().values())

    async def _failed_and_idle(self) -> None:
        """The SDK's shutdown may hang when its polls are refused: what is worth waiting for is the work in hand."""
        await self._failed.wait()
        await asyncio.sleep(SHUTDOWN_S)
        while self._has_work():  # noqa: ASYNC110 - bodies have no event
            await asyncio.sleep(0.05)

    async def _restart(self) -> BaseException | None:
        """Build and run the next worker; why it ended, or could not begin."""
        if self._leaving.is_set():
            return None
        self._ran_s = 0.0
        try:
            # Not until SIGTERM: the drain that another pool's death begins ends this wait as well.
            client = await self._connected(self._leaving)
            if client is None or self._leaving.is_set():
                return None
            self.polls = Polls()
            self.worker = self._build(client, self._failing, self.polls)
        except (TemporalUnavailable, ValueError, TypeError, RuntimeError) as failure:
            return failure
        self._state.restarts[self.queue] += 1
        self._state.down.pop(self.queue, None)
        return await self._run_worker()

    async def _failing(self, error: BaseException) -> None:
        """The SDK tells that polling has failed; the worker ends when the work that it has in hand has."""
        self._failure = error
        self._failed.set()

    async def _run_worker(self) -> BaseException | None:
        """Why the worker ended; or is as good as ended, since its shutdown hangs."""
        self._failed.clear()
        self._failure = None
        begin = time.monotonic()
        work = self._work = asyncio.create_task(self.worker.run(), name=f"worker-{self.queue}")
        work.add_done_callback(_seen)
        await first(asyncio.wait({work}), self._failed.wait())
        self._ran_s = time.monotonic() - begin
        if self._leaving.is_set() and self._failed.is_set():
            return self._failure
        if self._failure:
            reason, hopeless = why(self._failure)
            self._state.down[self.queue] = reason
            if not hopeless:
                log.warning("queue %s: polling failed: %s. First the work in hand ends.", self.queue, reason)
                await first(asyncio.wait({work}, timeout=self._patience_s), self._leaving.wait())
            return self._failure
        try:
            await work
        except Exception as error:  # noqa: BLE001 - whatever ends a worker is a reason to look at, not to crash
            return error
        return None


def _announce(worker: Worker) -> None:
    """Bodies that ask the SDK hear of the drain at once (activity.is_worker_shutdown), not when polls are home."""
    if worker._activity_worker:
        worker._activity_worker.notify_shutdown()


def _seen(work: asyncio.Task[None]) -> None:
    """The error of a worker that nobody waits for any more is no news: `_failing` told it."""
    if not work.cancelled():
        work.exception()
