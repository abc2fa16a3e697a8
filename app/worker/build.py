"""The SDK worker of one task queue, made from its handlers and settings."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from temporalio.client import Client
from temporalio.worker import Worker

from app.core.config import Settings
from app.worker import versions
from app.worker.polls import Polls, grace_s
from app.worker.queues import task_queues
from app.worker.registry import Registry


def build(
    registry: Registry,
    settings: Settings,
    queue: str,
    client: Client,
    on_fatal_error: Callable[[BaseException], Awaitable[None]],
    polls: Polls,
) -> Worker:
    """The worker of `queue`; `on_fatal_error` is the SDK's. Raises what the SDK raises.

    `polls` are to be quiesced before it is shut down: its own grace is what that leaves of the drain's time.
    """
    view = task_queues(registry, settings)[queue]
    own = view.worker
    worker = Worker(
        client,
        task_queue=queue,
        workflows=[handler.target for handler in view.workflows],
        activities=[handler.target for handler in view.activities],
        activity_executor=ThreadPoolExecutor(view.threads, f"activity-{queue}") if view.threads else None,
        tuner=polls.tuner(
            own.max_concurrent_workflow_tasks, own.max_concurrent_activities, own.max_concurrent_local_activities
        ),
        max_concurrent_workflow_task_polls=own.max_concurrent_workflow_task_polls,
        max_concurrent_activity_task_polls=own.max_concurrent_activity_task_polls,
        max_activities_per_second=own.activities_per_second,
        max_task_queue_activities_per_second=own.queue_activities_per_second,
        sticky_queue_schedule_to_start_timeout=timedelta(milliseconds=own.sticky_queue_schedule_to_start_timeout_ms),
        max_cached_workflows=own.workflow_cache_size,
        graceful_shutdown_timeout=timedelta(seconds=grace_s(own)),
        deployment_config=versions.deployment_config(own),
        on_fatal_error=on_fatal_error,
    )
    # A new worker repeats its calls in the SDK's way whatever its client says; one whose client is replaced, in the
    # client's (core's init_worker and replace_client). So results outlast an outage: manager.retry_of.
    worker.client = client
    return worker
