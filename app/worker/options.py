"""Options of starts and activity calls: their types for the type checkers, and their values from the configuration.

The TypedDicts repeat the keywords of the installed SDK (a test compares them); the functions give the values that hold
where a call says nothing.
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
from temporalio.workflow import ActivityCancellationType, EventGroup, VersioningIntent

from app.core.config.model import ActivitySettings, RetrySettings, WorkflowSettings

TOO_LARGE = "PayloadsTooLarge"
"""What the SDK calls the failure of an activity whose result exceeds Temporal's limit; it would exceed it again."""


class ScheduleOptions(TypedDict, total=False):
    """Keywords of `Client.start_workflow`, without `start_delay`."""

    task_queue: str
    execution_timeout: timedelta | None
    run_timeout: timedelta | None
    task_timeout: timedelta | None
    id_reuse_policy: WorkflowIDReusePolicy
    id_conflict_policy: WorkflowIDConflictPolicy
    retry_policy: RetryPolicy | None
    cron_schedule: str
    memo: Mapping[str, Any] | None
    search_attributes: TypedSearchAttributes | SearchAttributes | None
    static_summary: str | None
    static_details: str | None
    start_signal: str | None
    start_signal_args: Sequence[Any]
    rpc_metadata: Mapping[str, str | bytes]
    rpc_timeout: timedelta | None
    request_eager_start: bool
    priority: Priority
    versioning_override: VersioningOverride | None


class StartOptions(ScheduleOptions, total=False):
    """Keywords of `Client.start_workflow`."""

    start_delay: timedelta | None


class ActivityOptions(TypedDict, total=False):
    """Keywords of `workflow.start_activity`, without `activity_id`: one made by hand breaks replay when code moves."""

    task_queue: str | None
    schedule_to_close_timeout: timedelta | None
    schedule_to_start_timeout: timedelta | None
    start_to_close_timeout: timedelta | None
    heartbeat_timeout: timedelta | None
    retry_policy: RetryPolicy | None
    cancellation_type: ActivityCancellationType
    versioning_intent: VersioningIntent | None
    summary: str | None
    event_groups: Sequence[EventGroup] | None
    priority: Priority


def start_defaults(settings: WorkflowSettings) -> StartOptions:
    """What a start gets where its caller says nothing."""
    return {
        "execution_timeout": _delta(settings.execution_timeout_s),
        "run_timeout": _delta(settings.run_timeout_s),
        "task_timeout": _delta(settings.task_timeout_s),
        "retry_policy": None if settings.retry.maximum_attempts == 1 else _retry(settings.retry),
    }


def activity_defaults(settings: ActivitySettings) -> ActivityOptions:
    """What an activity call gets where its caller says nothing."""
    return {
        "start_to_close_timeout": _delta(settings.start_to_close_timeout_s),
        "schedule_to_close_timeout": _delta(settings.schedule_to_close_timeout_s),
        "schedule_to_start_timeout": _delta(settings.schedule_to_start_timeout_s),
        "heartbeat_timeout": _delta(settings.heartbeat_timeout_s),
        "retry_policy": _retry(settings.retry),
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
