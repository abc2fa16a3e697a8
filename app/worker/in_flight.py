"""Which activities this process has in hand, and how the others ended: what a drain waits for and reports.

An activity is in hand until Temporal has its result. The body ends first; then the SDK tells Temporal, for as long as
that takes, and the task that ran the body is over when it has been told (or has refused to hear).
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from temporalio import activity
from temporalio.exceptions import is_cancelled_exception
from temporalio.plugin import SimplePlugin
from temporalio.worker import (
    ActivityInboundInterceptor,
    ActivityOutboundInterceptor,
    ExecuteActivityInput,
    Interceptor,
)

from app.core.exit import ExitCode
from app.worker.hand_over import HandOver


@dataclass(frozen=True)
class Running:
    """One activity in hand; `since` is monotonic seconds."""

    queue: str
    activity: str
    workflow_id: str
    attempt: int
    since: float
    is_local: bool = False
    """Temporal knows nothing of it: its workflow task is what runs again."""

    def __str__(self) -> str:
        age_s = time.monotonic() - self.since
        return f"{self.activity} of {self.workflow_id or 'no workflow'} (attempt {self.attempt}) for {age_s:.1f} s"


@dataclass(frozen=True)
class Drained:
    """What became of the work that was in hand when a drain began, and the code to leave with."""

    seconds: float
    finished: int
    handed_over: int
    """By a checkpoint, or cancelled when their time was over; they run again elsewhere."""
    released: int
    """Still at work, and failed by their token; they run again elsewhere, about a second later."""
    abandoned: int
    """Still at work, or their result not told; they run again elsewhere, after their timeout."""
    code: ExitCode

    def __str__(self) -> str:
        return (
            f"{self.seconds:.1f} s: {self.finished} finished, {self.handed_over} handed over, "
            f"{self.released} released, {self.abandoned} abandoned; exit code {int(self.code)}"
        )


@dataclass
class InFlight:
    """Counts of this process. Written on the event loop, `released` by the watchdog; other threads may read."""

    running: dict[bytes, Running] = field(default_factory=dict)
    untold: dict[bytes, Running] = field(default_factory=dict)
    """Bodies that have ended and whose result Temporal has not taken yet."""
    ended: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """(queue, activity, outcome) -> number; outcome is completed, failed, cancelled or handed_over."""
    checkpoints: dict[bytes, Sequence[Any]] = field(default_factory=dict)
    """The details of the newest heartbeat of an activity in hand; the SDK may not have sent them yet."""
    released: set[bytes] = field(default_factory=set)
    _told: Counter[str] = field(default_factory=Counter)
    """Outcome -> how often Temporal has been told."""
    _drain: tuple[float, Counter[str]] | None = None

    def in_hand(self) -> Mapping[bytes, Running]:
        """By task token, what Temporal waits for."""
        return {**self.running, **self.untold}

    def begin_drain(self) -> None:
        """From now on what ends is counted for `drained`; a second call changes nothing."""
        if self._drain is None:
            self._drain = time.monotonic(), self._told.copy()

    def draining(self) -> Drained | None:
        """The account of the drain that goes on."""
        return self.drained() if self._drain else None

    def drained(self, code: ExitCode | None = None) -> Drained:
        """The account of the drain up to now; `code`: how it ends whatever became of the work."""
        self.begin_drain()
        assert self._drain is not None
        begin, before = self._drain
        told = self._told.copy()
        told.subtract(before)
        handed_over, released = told["handed_over"], len(self.released)
        left = len(self.in_hand().keys() - self.released)
        code = code or (ExitCode.HANDED_OVER if handed_over or released or left else ExitCode.DRAINED)
        return Drained(time.monotonic() - begin, told.total() - handed_over, handed_over, released, left, code)

    def plugin(self) -> SimplePlugin:
        """The plugin for a client whose workers are to be counted."""
        return SimplePlugin("in-flight", interceptors=[_Count(self)])

    def began(self, token: bytes, body: Running) -> None:
        """A body is at work."""
        self.running[token] = body

    def body_ended(self, token: bytes, outcome: str) -> None:
        """It is no longer; the task that ran it goes on to tell Temporal."""
        body = self.untold[token] = self.running.pop(token)
        self.ended[body.queue, body.activity, outcome] += 1
        task = asyncio.current_task()
        assert task is not None
        task.add_done_callback(lambda _: self._settle(token, outcome))

    def _settle(self, token: bytes, outcome: str) -> None:
        del self.untold[token]
        self.checkpoints.pop(token, None)
        if token not in self.released:
            self._told[outcome] += 1


class _Count(Interceptor):
    def __init__(self, counts: InFlight) -> None:
        self._counts = counts

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _CountActivity(next, self._counts)


class _CountActivity(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, counts: InFlight) -> None:
        super().__init__(next)
        self._counts = counts

    def init(self, outbound: ActivityOutboundInterceptor) -> None:
        super().init(_Heartbeats(outbound, self._counts))

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        info = activity.info()
        workflow_id = info.workflow_id or ""
        body = Running(info.task_queue, info.activity_type, workflow_id, info.attempt, time.monotonic(), info.is_local)
        self._counts.began(info.task_token, body)
        outcome = "failed"
        try:
            result = await super().execute_activity(input)
            outcome = "completed"
            return result
        except HandOver:
            outcome = "handed_over"
            raise
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) or is_cancelled_exception(error):
                # A drain may still hear of a cancel that Temporal asked for; nobody runs that activity again.
                details = activity.cancellation_details()
                outcome = "handed_over" if details and details.worker_shutdown else "cancelled"
            raise
        finally:
            self._counts.body_ended(info.task_token, outcome)


class _Heartbeats(ActivityOutboundInterceptor):
    def __init__(self, next: ActivityOutboundInterceptor, counts: InFlight) -> None:
        super().__init__(next)
        self._counts = counts

    def heartbeat(self, *details: Any) -> None:
        self._counts.checkpoints[activity.info().task_token] = details
        super().heartbeat(*details)
