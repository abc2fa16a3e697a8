"""The polls of one worker: how many are open, and an end to them before the worker itself shuts down.

A task that is matched with a poll in the moment in which the poll is cut is started on the server and runs nowhere
until its timeout. The SDK's shutdown cuts: after a moment by itself, or at once by the server's hand where that has
`frontend.enableCancelWorkerPollsOnShutdown`. So a drain first lets the polls come home. Core takes a slot before each
poll, and the slots are ours: once they are closed no poll begins, an open one ends with a task, which is worked on as
ever, or empty. On a busy queue that takes milliseconds. Where tasks are rare it takes until the server answers an open
poll with nothing, which is 60 s; `temporal.worker.polls_timeout_s` bounds it, and what is open then is cut. Tasks
come seconds apart then, and one is lost only if it is matched in the very milliseconds of the cut.

Runs that this worker keeps in memory go to others first: Temporal hears that nobody works on the sticky queue any more
(app.worker.sticky_queue), all sticky polls come home, and the next task of each run goes to all workers. Later it would
be a burst of tasks for polls that are about to be cut. Without it the runs would wait for
`sticky_queue_schedule_to_start_timeout_ms` (measured: 20 workflows in 17 drains), and a shutdown over open sticky polls
loses tasks as any cut does (10 in 30 drains).

Rejected: sticky polls that go on until the end of the drain, one at a time (25 waits and 1 lost workflow task in 550
drains, benchmarks/results/drain-reopened.jsonl) or all (3 lost in 350), and no look afterwards (21 waits in 120).
Rejected: TEMPORAL_POLL_SHUTDOWN_INTERRUPT_WAIT_MS, which keeps polls open over the SDK's shutdown. The server's flag
overrides it, and core's side for workflows ends at once where no run has a task in hand: what the polls still bring it
is lost (a workflow that started 0.2 s after the shutdown lost its task, each time).
Rejected: fixed slots and the SDK's metrics, which tell of polls and cannot stop them.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal, Protocol

from temporalio.worker import (
    CustomSlotSupplier,
    FixedSizeSlotSupplier,
    SlotMarkUsedContext,
    SlotPermit,
    SlotReleaseContext,
    SlotReserveContext,
    WorkerTuner,
)

from app.core.config.model import WorkerSettings
from app.worker.promises import latest_task_s

log = logging.getLogger("app.worker.polls")

QUIET_S = 10.0
"""A worker without a task for so long has no traffic: its polls may be cut. A loss needs a task in that very moment."""
NO_TRAFFIC_S = 0.5
"""What a drain waits then: a worker that has just begun in a busy fleet sees its first task in this time."""
STICKY_S = 1.5
"""How long a drain waits for nothing but a run that says the name of the sticky queue."""
TELL_S = 0.1
SETTLE_S = 0.02
"""For polls that have just got their slots to reach the server."""
_LOOK_S = 0.02
_NEXUS_SLOTS = 5

Kind = Literal["workflow", "sticky", "activity"]


def grace_s(settings: WorkerSettings) -> float:
    """The SDK's graceful_shutdown_timeout, which counts from the end of `Polls.quiesce`."""
    return settings.drain_timeout_s - latest_task_s(settings)


class StickyEnd(Protocol):
    """How Temporal is told that nobody works on a sticky queue any more: app.worker.sticky_queue."""

    @property
    def kept(self) -> bool:
        """Whether there are runs whose tasks come by it."""
        ...

    async def find(self) -> bool:
        """Whether it can be told. Once it cannot, another try is worth it after a task came by the queue."""
        ...

    async def unload(self) -> bool:
        """Tell it; whether it has heard. Open polls then come home, empty unless a task was on its way."""
        ...


class _Permit(SlotPermit):
    """A slot that was given out for a poll, or for an activity that may come with an answer ("eager")."""

    __slots__ = ("kind", "used")

    def __init__(self, kind: Kind) -> None:
        self.kind: Kind = kind
        self.used = False


@dataclass
class Polls:
    """What a worker has open at the server. Written by the SDK's threads and the loop; any thread may read."""

    open_of: Counter[Kind] = field(default_factory=Counter)
    task_at: float = -math.inf
    """When a task last came; monotonic seconds."""
    closed: bool = False
    cut: int = 0
    """Polls that `quiesce` left open, of a worker with tasks of late; sticky ones apart, of which Temporal is told."""
    _telling: bool = False
    _sticky_tasks: int = 0
    _sticky_closed: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _slots: list[_Slots] = field(default_factory=list)

    @property
    def open(self) -> int:
        """Slots given out for polls. Core holds one more for each kind than it polls with, for the next poll."""
        return self.open_of.total()

    def tuner(self, workflow_tasks: int, activities: int, local_activities: int) -> WorkerTuner:
        """Fixed numbers of slots for a worker; the first two are closed with `close`."""
        self._slots = [_Slots(self, workflow_tasks), _Slots(self, activities)]
        return WorkerTuner.create_composite(
            workflow_supplier=self._slots[0],
            activity_supplier=self._slots[1],
            local_activity_supplier=FixedSizeSlotSupplier(local_activities),
            nexus_supplier=FixedSizeSlotSupplier(_NEXUS_SLOTS),
        )

    def close(self) -> None:
        """From now on nothing is polled for, but tasks of runs that are kept here; and no eager activity is taken."""
        self.closed = True

    async def quiesce(self, longest_s: float, at_work: Callable[[], bool], sticky_queue: StickyEnd) -> None:
        """Close, and wait for the open polls: `longest_s` at most, less where there is no traffic.

        While there is a body `at_work` it takes all of that: the worker is then shut down with the rest of the drain's
        time as its graceful_shutdown_timeout.
        """
        begin, idle = time.monotonic(), self._quiet()
        self.close()
        ending = asyncio.create_task(self._end_sticky(sticky_queue))
        ending.add_done_callback(_tell_failure)

        def awaited(waited_s: float) -> bool:
            # A run that is kept and waits for something need not say its queue: the SDK's shutdown tells it in time.
            sticky = self._telling or (sticky_queue.kept and waited_s < STICKY_S)
            return (sticky and not ending.done()) or self.open > self.open_of["sticky"]

        try:
            while (waited_s := time.monotonic() - begin) < longest_s and (awaited(waited_s) or at_work()):
                if self._quiet() and waited_s > NO_TRAFFIC_S and not at_work():
                    break
                await asyncio.sleep(_LOOK_S)
        finally:
            ending.cancel()
            self._sticky_closed = True
            self.cut = 0 if idle and self._quiet() else self.open - self.open_of["sticky"]

    async def _end_sticky(self, sticky_queue: StickyEnd) -> None:
        """Tell Temporal as soon as it can be told, and let the sticky polls come home."""
        seen = self._sticky_tasks
        while not await sticky_queue.find():
            await asyncio.sleep(TELL_S)
            while self._sticky_tasks == seen:  # noqa: ASYNC110 - they are counted by the SDK's threads
                await asyncio.sleep(TELL_S)
            seen = self._sticky_tasks
        self._telling = True
        await self._sticky_home(sticky_queue)
        # What was not matched by then waits there for its timeout, unless somebody polls. Each look finds less: by now
        # most runs have moved on.
        tasks = -1
        while self._sticky_tasks > tasks:
            tasks = self._sticky_tasks
            self._sticky_again()
            await asyncio.sleep(TELL_S)
            await self._sticky_home(sticky_queue)

    async def _sticky_home(self, sticky_queue: StickyEnd) -> None:
        self._sticky_closed = True
        await asyncio.sleep(SETTLE_S)
        # A poll that is still on its way then loads the queue again: told until none is open.
        while not (await sticky_queue.unload() and not self.open_of["sticky"]):  # noqa: ASYNC110 - the SDK's threads count
            await asyncio.sleep(TELL_S)

    def _sticky_again(self) -> None:
        with self._lock:
            self._sticky_closed = False
            for slots in self._slots:
                slots._hand_out()

    def _quiet(self) -> bool:
        return time.monotonic() - self.task_at > QUIET_S

    def _may_begin(self, kind: Kind) -> bool:
        """The lock is held."""
        if not self.closed:
            return True
        return kind == "sticky" and not self._sticky_closed


class _Slots(CustomSlotSupplier):
    """A fixed number of slots, given out in the order in which they are asked for, as the SDK's own does.

    The two kinds of workflow polls share theirs, and open polls may be as many: then one kind could have all of them
    for as long as a poll lasts, a minute. Core prevents that where it can see the number of slots; here it cannot.
    """

    def __init__(self, polls: Polls, size: int) -> None:
        self._polls = polls
        self._lock = polls._lock
        self._free = size
        self._waiting: deque[tuple[Kind, asyncio.Future[_Permit], asyncio.AbstractEventLoop]] = deque()

    async def reserve_slot(self, ctx: SlotReserveContext) -> SlotPermit:
        kind = _kind(ctx)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_Permit] = loop.create_future()
        with self._lock:
            self._waiting.append((kind, future, loop))
            self._hand_out()
        try:
            return await future
        except asyncio.CancelledError:
            with self._lock:
                if future.done() and not future.cancelled():
                    self._give_back(future.result())
            raise

    def try_reserve_slot(self, ctx: SlotReserveContext) -> SlotPermit | None:
        with self._lock:
            return None if self._waiting else self._take(_kind(ctx))

    def mark_slot_used(self, ctx: SlotMarkUsedContext) -> None:
        permit = ctx.permit
        assert isinstance(permit, _Permit)
        with self._lock:
            permit.used = True
            self._polls.open_of[permit.kind] -= 1
            self._polls._sticky_tasks += permit.kind == "sticky"
            self._polls.task_at = time.monotonic()
            self._wake()

    def release_slot(self, ctx: SlotReleaseContext) -> None:
        permit = ctx.permit
        assert isinstance(permit, _Permit)
        with self._lock:
            self._give_back(permit)

    def _take(self, kind: Kind) -> _Permit | None:
        if not self._free or not self._polls._may_begin(kind) or (self._free == 1 and self._has_its_share(kind)):
            return None
        self._free -= 1
        self._polls.open_of[kind] += 1
        return _Permit(kind)

    def _has_its_share(self, kind: Kind) -> bool:
        """Whether the last slot is to be left to the other kind of workflow polls."""
        other: Kind = "sticky" if kind == "workflow" else "workflow"
        return kind != "activity" and self._polls.open_of[kind] > 0 and not self._polls.open_of[other]

    def _give_back(self, permit: _Permit) -> None:
        self._free += 1
        if not permit.used:
            self._polls.open_of[permit.kind] -= 1
        self._wake()

    def _wake(self) -> None:
        """Let the loop serve those who wait; this may be a thread of the SDK's."""
        if self._waiting and self._free:
            with suppress(RuntimeError):  # the loop has closed: nobody waits any more
                self._waiting[0][2].call_soon_threadsafe(self._serve)

    def _serve(self) -> None:
        with self._lock:
            self._hand_out()

    def _hand_out(self) -> None:
        """On the loop, with the lock held."""
        left = [one for one in self._waiting if not one[1].done()]
        self._waiting.clear()
        for kind, future, loop in left:
            if permit := self._take(kind):
                future.set_result(permit)
            else:
                self._waiting.append((kind, future, loop))


def _tell_failure(ending: asyncio.Task[None]) -> None:
    if not ending.cancelled() and (error := ending.exception()):
        log.warning("Temporal was not told of the sticky queue's end: %r", error)


def _kind(ctx: SlotReserveContext) -> Kind:
    if ctx.slot_type == "activity":
        return "activity"
    return "sticky" if ctx.is_sticky else "workflow"
