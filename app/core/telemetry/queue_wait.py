"""The span that Temporal's own instrumentation lacks: how long work waited in its task queue.

Both ends of the wait are the server's clock (scheduled and started), so no skew between machines can bend it. An
activity's wait is a sibling of its `RunActivity` span, a workflow's first wait a child of its `StartWorkflow` span.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext
from temporalio import activity, workflow
from temporalio.plugin import SimplePlugin
from temporalio.worker import (
    ActivityInboundInterceptor,
    ExecuteActivityInput,
    ExecuteWorkflowInput,
    Interceptor,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
)


class QueueWaitPlugin(SimplePlugin):
    """Adds the wait spans; must stand after the OpenTelemetry plugin, whose span tells the parent."""

    def __init__(self) -> None:
        super().__init__("queue-wait", interceptors=[_QueueWait()])


class _QueueWait(Interceptor):
    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _ActivityWait(next)

    def workflow_interceptor_class(self, input: WorkflowInterceptorClassInput) -> type[WorkflowInboundInterceptor]:
        return _WorkflowWait


class _ActivityWait(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        info = activity.info()
        if not info.is_local:
            _record(
                info.task_queue,
                info.current_attempt_scheduled_time,
                info.started_time,
                {"temporalActivityID": info.activity_id, "temporalAttempt": info.attempt},
            )
        return await super().execute_activity(input)


class _WorkflowWait(WorkflowInboundInterceptor):
    async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:
        info = workflow.info()
        if not workflow.unsafe.is_replaying():
            _record(info.task_queue, info.workflow_start_time, workflow.now(), {"temporalWorkflowID": info.workflow_id})
        return await super().execute_workflow(input)


def _record(queue: str, scheduled: datetime, started: datetime, attributes: dict[str, str | int]) -> None:
    span = trace.get_tracer(__name__).start_span(
        f"QueueWait:{queue}",
        context=_parent(),
        start_time=_ns(scheduled),
        attributes={"messaging.destination.name": queue, **attributes},
    )
    span.end(end_time=_ns(started))


def _parent() -> Context | None:
    """The context above the current Run... span, so that the wait stands before it and not inside it."""
    parent = getattr(trace.get_current_span(), "parent", None)
    return trace.set_span_in_context(NonRecordingSpan(parent)) if isinstance(parent, SpanContext) else None


def _ns(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000_000)
