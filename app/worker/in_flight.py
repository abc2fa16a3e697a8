"""Which activities run in this process right now, and how the others ended: what a drain waits for and reports."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from temporalio import activity
from temporalio.plugin import SimplePlugin
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor


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


@dataclass
class InFlight:
    """Counts of this process. Written on the event loop only; other threads may read."""

    running: dict[bytes, Running] = field(default_factory=dict)
    ended: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """(queue, activity, outcome) -> number; outcome is completed, failed, cancelled or handed_over."""

    def outcome(self, name: str) -> int:
        """How many activities ended with outcome `name`."""
        return sum(count for (_, _, outcome), count in self.ended.items() if outcome == name)

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
        except asyncio.CancelledError:
            # A drain may still hear of a cancel that Temporal asked for; nobody runs that activity again.
            details = activity.cancellation_details()
            outcome = "handed_over" if details and details.worker_shutdown else "cancelled"
            raise
        finally:
            del self._counts.running[info.task_token]
            self._counts.ended[running.queue, running.activity, outcome] += 1
