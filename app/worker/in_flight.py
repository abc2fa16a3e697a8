"""Which activities run in this process right now, and how the others ended: what a drain waits for and reports."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from temporalio import activity
from temporalio.exceptions import is_cancelled_exception
from temporalio.plugin import SimplePlugin
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from app.core.exit import ExitCode


@dataclass(frozen=True)
class Running:
    """One activity body at work; `since` is monotonic seconds."""

    queue: str
    activity: str
    workflow_id: str
    attempt: int
    since: float

    def __str__(self) -> str:
        age_s = time.monotonic() - self.since
        return f"{self.activity} of {self.workflow_id or 'no workflow'} (attempt {self.attempt}) for {age_s:.1f} s"


@dataclass(frozen=True)
class Drained:
    """What became of the work that was in hand when a drain began, and the code to leave with."""

    seconds: float
    finished: int
    handed_over: int
    """Cancelled when their time was over; they run again elsewhere."""
    abandoned: int
    """Still at work; they run again elsewhere, after their timeout."""
    code: ExitCode

    def __str__(self) -> str:
        return (
            f"{self.seconds:.1f} s: {self.finished} finished, {self.handed_over} handed over, "
            f"{self.abandoned} abandoned; exit code {int(self.code)}"
        )


@dataclass
class InFlight:
    """Counts of this process. Written on the event loop only; other threads may read."""

    running: dict[bytes, Running] = field(default_factory=dict)
    ended: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """(queue, activity, outcome) -> number; outcome is completed, failed, cancelled or handed_over."""
    _drain: tuple[float, int, int] | None = None

    def outcome(self, name: str) -> int:
        """How many activities ended with outcome `name`."""
        return sum(count for (_, _, outcome), count in self.ended.items() if outcome == name)

    def begin_drain(self) -> None:
        """From now on what ends is counted for `drained`; a second call changes nothing."""
        if self._drain is None:
            self._drain = time.monotonic(), self.ended.total(), self.outcome("handed_over")

    def drained(self, code: ExitCode | None = None) -> Drained:
        """The account of the drain up to now; `code`: how it ends whatever became of the work."""
        self.begin_drain()
        begin, ended, handed_over = self._drain or (time.monotonic(), 0, 0)
        now, lost, left = self.ended.total(), self.outcome("handed_over") - handed_over, len(self.running)
        code = code or (ExitCode.HANDED_OVER if lost or left else ExitCode.DRAINED)
        return Drained(time.monotonic() - begin, now - ended - lost, lost, left, code)

    def plugin(self) -> SimplePlugin:
        """The plugin for a client whose workers are to be counted."""
        return SimplePlugin("in-flight", interceptors=[_Count(self)])


class _Count(Interceptor):
    def __init__(self, counts: InFlight) -> None:
        self._counts = counts

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _CountActivity(next, self._counts)


class _CountActivity(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, counts: InFlight) -> None:
        super().__init__(next)
        self._counts = counts

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        info = activity.info()
        running = Running(info.task_queue, info.activity_type, info.workflow_id or "", info.attempt, time.monotonic())
        self._counts.running[info.task_token] = running
        outcome = "failed"
        try:
            result = await super().execute_activity(input)
            outcome = "completed"
            return result
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) or is_cancelled_exception(error):
                # A drain may still hear of a cancel that Temporal asked for; nobody runs that activity again.
                details = activity.cancellation_details()
                outcome = "handed_over" if details and details.worker_shutdown else "cancelled"
            raise
        finally:
            del self._counts.running[info.task_token]
            self._counts.ended[running.queue, running.activity, outcome] += 1
