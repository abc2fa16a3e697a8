"""A call whose own keywords break what its activity promises: said once for each activity, by the worker that gets it.

The keywords stand in workflow code, which no check reads before a start, and a keyword wins over the declaration. The
worker sees them with the task, where it also knows its drain. Rejected: refusing the call. Workflow code cannot know
the drain of another queue's workers, and open workflows would fail that ran for months.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from temporalio import activity
from temporalio.plugin import SimplePlugin
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from app.core.config.model import ActivitySettings, WorkerSettings
from app.worker.promises import Promise, broken
from app.worker.queues import TaskQueue

log = logging.getLogger("app.worker.outrun")

Key = tuple[str, str]
"""Task queue and activity."""
Promised = tuple[Promise, ActivitySettings, WorkerSettings]
"""What was promised, with which options, and the settings of the worker whose drain it is."""


def plugin(queues: Iterable[TaskQueue]) -> SimplePlugin:
    """The plugin for a client whose workers serve `queues`; one warning an activity and process."""
    promised = {
        (queue.name, handler.name): (handler.promise, queue.options[handler.name], queue.worker)
        for queue in queues
        for handler in queue.activities
        if handler.promise.on_drain
    }
    return SimplePlugin("outrun", interceptors=[_Watch(promised)])


def outrun(promised: Promised, info: activity.Info) -> str:
    """Why the task that `info` tells of breaks a promise that its activity's own options keep; empty when it does not.

    Keywords of the call are what differs: options that break it by themselves were said at the start.
    """
    promise, options, worker = promised
    if any(broken(promise.on_drain, options, worker)):
        return ""
    given: dict[str, Any] = {
        "start_to_close_timeout_s": _seconds(info.start_to_close_timeout) or options.start_to_close_timeout_s,
        "heartbeat_timeout_s": _seconds(info.heartbeat_timeout),
    }
    if info.retry_policy:
        attempts = info.retry_policy.maximum_attempts
        given["retry"] = options.retry.model_copy(update={"maximum_attempts": attempts})
    return "; ".join(fact for fact, _ in broken(promise.on_drain, options.model_copy(update=given), worker))


class _Watch(Interceptor):
    def __init__(self, promised: Mapping[Key, Promised]) -> None:
        self._promised = dict(promised)

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _WatchActivity(next, self._promised)


class _WatchActivity(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, promised: dict[Key, Promised]) -> None:
        super().__init__(next)
        self._promised = promised

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        info = activity.info()
        key = info.task_queue, info.activity_type
        promised = self._promised.get(key)
        if promised and not info.is_local and (why := outrun(promised, info)):
            del self._promised[key]
            log.warning(
                "a call of %s by %s breaks its promise (%s): %s. If the call has a keyword of its own, take it away, "
                "or declare what it says at the activity; one of before a deploy that changed that will be over soon",
                info.activity_type,
                info.workflow_type or "no workflow",
                promised[0],
                why,
            )
        return await super().execute_activity(input)


def _seconds(delta: timedelta | None) -> float | None:
    return delta.total_seconds() if delta else None
