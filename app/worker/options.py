"""Options of starts, children and activity calls: their types for type checkers, their values from the configuration.

The TypedDicts repeat the keywords of the installed SDK, and a test compares them with it; the functions give the values
that hold where a call says nothing. What they leave out on purpose stands in `LEFT_OUT`. A keyword that is given always
wins, also as None.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, TypedDict

from temporalio.common import (
    Priority,
    RetryPolicy,
    SearchAttributes,
    TypedSearchAttributes,
    VersioningOverride,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.workflow import (
    ActivityCancellationType,
    ChildWorkflowCancellationType,
    ContinueAsNewVersioningBehavior,
    EventGroup,
    ParentClosePolicy,
    VersioningIntent,
)

from app.core.config.model import ActivitySettings, RetrySettings, WorkflowSettings
from app.worker.promises import Promise

TOO_LARGE = "PayloadsTooLarge"
"""What the SDK calls the failure of an activity whose result exceeds Temporal's limit; it would exceed it again."""

LEFT_OUT = {
    "activity_id": "one made by hand breaks the replay of open workflows when the code around the call moves",
    "arg": "arguments follow the function, or are given as input=",
    "args": "arguments follow the function, or are given as input=",
    "id": "a parameter of its own; the id of an update is update_id",
    "result_type": "a parameter of the calls by name; otherwise the function says it",
    "stack_level": "is for the SDK's own warnings",
    "start_workflow_operation": "update_with_start makes it",
    "workflow": "is the class",
}
"""Keywords of the SDK that are no options here, and why."""


class RunOptions(TypedDict, total=False):
    """What a run has, whoever starts it."""

    execution_timeout: timedelta | None
    run_timeout: timedelta | None
    task_timeout: timedelta | None
    id_reuse_policy: WorkflowIDReusePolicy
    retry_policy: RetryPolicy | None
    cron_schedule: str
    memo: Mapping[str, Any] | None
    search_attributes: TypedSearchAttributes | SearchAttributes | None
    static_summary: str | None
    static_details: str | None
    priority: Priority
    versioning_override: VersioningOverride | None


class WithStartOptions(RunOptions, total=False):
    """Keywords of a start that comes with a signal."""

    task_queue: str
    id_conflict_policy: WorkflowIDConflictPolicy
    start_delay: timedelta | None
    rpc_metadata: Mapping[str, str | bytes]
    rpc_timeout: timedelta | None


class UpdateWithStartOptions(WithStartOptions, total=False):
    """Keywords of `WithStartWorkflowOperation` and of the update; `update_id` makes a repeated call one update."""

    update_id: str | None


class ScheduleOptions(RunOptions, total=False):
    """Keywords of `Client.start_workflow`, without `start_delay`."""

    task_queue: str
    id_conflict_policy: WorkflowIDConflictPolicy
    rpc_metadata: Mapping[str, str | bytes]
    rpc_timeout: timedelta | None
    start_signal: str | None
    start_signal_args: Sequence[Any]
    request_eager_start: bool


class StartOptions(ScheduleOptions, total=False):
    """Keywords of `Client.start_workflow`."""

    start_delay: timedelta | None


class ChildOptions(RunOptions, total=False):
    """Keywords of `workflow.start_child_workflow`; without `id` the SDK makes one that survives replay."""

    id: str | None
    task_queue: str | None
    cancellation_type: ChildWorkflowCancellationType
    parent_close_policy: ParentClosePolicy
    versioning_intent: VersioningIntent | None
    event_groups: Sequence[EventGroup] | None


class ContinueOptions(TypedDict, total=False):
    """Keywords of `workflow.continue_as_new`; what is absent stays as it is in this run."""

    task_queue: str | None
    run_timeout: timedelta | None
    task_timeout: timedelta | None
    backoff_start_interval: timedelta | None
    retry_policy: RetryPolicy | None
    memo: Mapping[str, Any] | None
    search_attributes: TypedSearchAttributes | SearchAttributes | None
    versioning_intent: VersioningIntent | None
    initial_versioning_behavior: ContinueAsNewVersioningBehavior | None
    event_groups: Sequence[EventGroup] | None


class _AnyActivityOptions(TypedDict, total=False):
    schedule_to_close_timeout: timedelta | None
    schedule_to_start_timeout: timedelta | None
    start_to_close_timeout: timedelta | None
    retry_policy: RetryPolicy | None
    cancellation_type: ActivityCancellationType
    summary: str | None
    event_groups: Sequence[EventGroup] | None


class ActivityOptions(_AnyActivityOptions, total=False):
    """Keywords of `workflow.start_activity`."""

    task_queue: str | None
    heartbeat_timeout: timedelta | None
    versioning_intent: VersioningIntent | None
    priority: Priority


class LocalActivityOptions(_AnyActivityOptions, total=False):
    """Keywords of `workflow.start_local_activity`; it has no queue, for it runs where the workflow does."""

    local_retry_threshold: timedelta | None


def run_defaults(settings: WorkflowSettings) -> RunOptions:
    """What a start, or a child, gets where its caller says nothing."""
    return {
        "execution_timeout": _delta(settings.execution_timeout_s),
        "run_timeout": _delta(settings.run_timeout_s),
        "task_timeout": _delta(settings.task_timeout_s),
        "retry_policy": None if settings.retry.maximum_attempts == 1 else _retry(settings.retry),
    }


def activity_defaults(settings: ActivitySettings, promise: Promise) -> ActivityOptions:
    """What an activity call gets where its caller says nothing: what is declared, else what is configured."""
    return {
        "start_to_close_timeout": _delta(promise.start_to_close_s or settings.start_to_close_timeout_s),
        "schedule_to_close_timeout": _delta(settings.schedule_to_close_timeout_s),
        "schedule_to_start_timeout": _delta(settings.schedule_to_start_timeout_s),
        "heartbeat_timeout": _delta(promise.heartbeat_over(settings)),
        "retry_policy": _retry(promise.retry or settings.retry),
    }


def local_activity_defaults(settings: ActivitySettings, promise: Promise) -> LocalActivityOptions:
    """The same for a local activity, which has no heartbeat."""
    return {
        "start_to_close_timeout": _delta(promise.start_to_close_s or settings.start_to_close_timeout_s),
        "schedule_to_close_timeout": _delta(settings.schedule_to_close_timeout_s),
        "schedule_to_start_timeout": _delta(settings.schedule_to_start_timeout_s),
        "retry_policy": _retry(promise.retry or settings.retry),
    }


def _retry(settings: RetrySettings) -> RetryPolicy:
    return RetryPolicy(
        initial_interval=timedelta(seconds=settings.initial_interval_s),
        backoff_coefficient=settings.backoff_coefficient,
        maximum_interval=timedelta(seconds=settings.maximum_interval_s),
        maximum_attempts=settings.maximum_attempts,
        non_retryable_error_types=[*settings.non_retryable_error_types, TOO_LARGE],
    )


def _delta(seconds: float | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=seconds)
