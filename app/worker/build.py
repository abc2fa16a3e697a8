"""The SDK worker of one task queue, made from its handlers and settings."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from temporalio.client import Client
from temporalio.worker import Worker

from app.core.config import Settings
from app.core.config.resolve import worker_settings
from app.worker import versions
from app.worker.registry import ACTIVITY, WORKFLOW, Registry


def build(
    registry: Registry,
    settings: Settings,
    queue: str,
    client: Client,
    on_fatal_error: Callable[[BaseException], Awaitable[None]],
) -> Worker:
    """Raises what the SDK raises: the sandbox imports each workflow here, and refuses what is not deterministic."""
    own = worker_settings(settings, queue)
    handlers = registry.queues()[queue]
    activities = [handler for handler in handlers if handler.kind == ACTIVITY]
    # A thread per slot and queue: one that is blocked keeps none of another queue's, and all slots run side by side.
    threads = own.max_concurrent_activities + own.max_concurrent_local_activities
    sync = any(not handler.is_async for handler in activities)
    return Worker(
        client,
        task_queue=queue,
        workflows=[handler.target for handler in handlers if handler.kind == WORKFLOW],
        activities=[handler.target for handler in activities],
        activity_executor=ThreadPoolExecutor(threads, f"activity-{queue}") if sync else None,
        max_concurrent_activities=own.max_concurrent_activities,
        max_concurrent_workflow_tasks=own.max_concurrent_workflow_tasks,
        max_concurrent_local_activities=own.max_concurrent_local_activities,
        max_concurrent_workflow_task_polls=own.max_concurrent_workflow_task_polls,
        max_concurrent_activity_task_polls=own.max_concurrent_activity_task_polls,
        max_activities_per_second=own.activities_per_second,
        max_task_queue_activities_per_second=own.queue_activities_per_second,
        sticky_queue_schedule_to_start_timeout=timedelta(milliseconds=own.sticky_queue_schedule_to_start_timeout_ms),
        max_cached_workflows=own.workflow_cache_size,
        graceful_shutdown_timeout=timedelta(seconds=own.drain_timeout_s),
        deployment_config=versions.deployment_config(own),
        on_fatal_error=on_fatal_error,
    )
