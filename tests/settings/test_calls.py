"""Options of workflow starts and activity calls, read from the histories of real runs."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError

from app.worker.options import TOO_LARGE
from tests.apps.lab import workflows as lab
from tests.settings.case import SIDES, case, check, settings
from tests.worker.pools import running_pools

NAMESPACES = ("default", f"other-{uuid.uuid4().hex[:8]}")

CASES = (
    case("temporal.namespace", *NAMESPACES),
    case("temporal.workflows.execution_timeout_s", 4001, 4002),
    case("temporal.workflows.run_timeout_s", 3001, 3002),
    case("temporal.workflows.task_timeout_s", 11, 12),
    case("temporal.workflows.retry.initial_interval_s", 21, 22),
    case("temporal.workflows.retry.backoff_coefficient", 1.5, 2.5),
    case("temporal.workflows.retry.maximum_interval_s", 101, 102),
    case("temporal.workflows.retry.maximum_attempts", 5, 6),
    case("temporal.workflows.retry.non_retryable_error_types", ["W1"], ["W2"]),
    case("temporal.activities.start_to_close_timeout_s", 31, 32),
    case("temporal.activities.schedule_to_close_timeout_s", 201, 202),
    case("temporal.activities.schedule_to_start_timeout_s", 151, 152),
    case("temporal.activities.heartbeat_timeout_s", 15, 16),
    case("temporal.activities.retry.initial_interval_s", 23, 24),
    case("temporal.activities.retry.backoff_coefficient", 1.25, 2.25),
    case("temporal.activities.retry.maximum_interval_s", 103, 104),
    case("temporal.activities.retry.maximum_attempts", 7, 8),
    case("temporal.activities.retry.non_retryable_error_types", ["A1"], ["A2"]),
    case(
        "temporal.activity",
        {"sleep": {"start_to_close_timeout_s": 41}},
        {"sleep": {"start_to_close_timeout_s": 42}},
        seen=(41, 42),
    ),
    case(
        "queues",
        {"lab-other": {"activities": {"start_to_close_timeout_s": 51}}},
        {"lab-other": {"activities": {"start_to_close_timeout_s": 52}}},
        seen=(51, 52),
    ),
    case("temporal.worker.external_queues", ["theirs"], [], seen=("scheduled on theirs", "UnservedQueue")),
)


@pytest.mark.parametrize("side", SIDES)
def test_options_of_calls_are_those_of_the_settings(temporal_address: str, side: int) -> None:
    given = settings(
        CASES, side, {"temporal": {"address": temporal_address, "worker": {"packages": ["tests.apps.lab"]}}}
    )

    async def seen() -> dict[str, Any]:
        if side:
            await _namespace(temporal_address, NAMESPACES[side])
        async with running_pools(given, "lab", "lab-other") as client:
            options = await _run(lab.Options.start_workflow, client, input=None)
            sleeps = await _run(lab.Slept.start_workflow, client, input=0.0)
            routes = await _run(lab.Routes.start_workflow, client, input=None)
            sent = await lab.Misrouted.start_workflow(client, input="theirs", id=uuid.uuid4().hex)
            raw = await Client.connect(temporal_address, namespace=NAMESPACES[side])
            found = await raw.get_workflow_handle(options.id).describe()
            return {
                "temporal.namespace": found.namespace,
                **_start((await _events(options))[0]),
                **_call(await _activities(options)),
                "temporal.activity": _seconds((await _activities(sleeps))[0].start_to_close_timeout),
                "queues": _seconds((await _activities(routes))[1].start_to_close_timeout),
                "temporal.worker.external_queues": await _fate(sent),
            }

    check(CASES, side, asyncio.run(seen()))


async def _namespace(address: str, name: str) -> None:
    client = await Client.connect(address)
    retention = Duration()
    retention.FromTimedelta(timedelta(days=1))
    request = RegisterNamespaceRequest(namespace=name, workflow_execution_retention_period=retention)
    await client.workflow_service.register_namespace(request)


async def _run(start: Any, client: Client, **arguments: Any) -> WorkflowHandle[Any, Any]:
    """Start a run and wait for its end. The server learns of a new namespace some seconds late."""
    handle: WorkflowHandle[Any, Any]
    for attempt in range(300):
        try:
            handle = await start(client, id=uuid.uuid4().hex, **arguments)
            break
        except RPCError:
            if attempt == 299:
                raise
            await asyncio.sleep(0.1)
    else:
        raise AssertionError("unreachable")
    await handle.result()
    return handle


async def _events(handle: WorkflowHandle[Any, Any]) -> list[HistoryEvent]:
    return list((await handle.fetch_history()).events)


async def _activities(handle: WorkflowHandle[Any, Any]) -> list[Any]:
    return [
        event.activity_task_scheduled_event_attributes
        for event in await _events(handle)
        if event.HasField("activity_task_scheduled_event_attributes")
    ]


async def _fate(handle: WorkflowHandle[Any, Any]) -> str:
    """Where the activity went, or why not."""
    while True:
        if scheduled := await _activities(handle):
            await handle.terminate()
            return f"scheduled on {scheduled[0].task_queue.name}"
        last = (await _events(handle))[-1]
        if last.HasField("workflow_execution_failed_event_attributes"):
            failure = last.workflow_execution_failed_event_attributes.failure
            return failure.application_failure_info.type
        await asyncio.sleep(0.05)


def _start(event: HistoryEvent) -> dict[str, Any]:
    started = event.workflow_execution_started_event_attributes
    return {
        "temporal.workflows.execution_timeout_s": _seconds(started.workflow_execution_timeout),
        "temporal.workflows.run_timeout_s": _seconds(started.workflow_run_timeout),
        "temporal.workflows.task_timeout_s": _seconds(started.workflow_task_timeout),
        **dict(_retry("temporal.workflows.retry", started.retry_policy)),
    }


def _call(scheduled: list[Any]) -> dict[str, Any]:
    first = scheduled[0]
    return {
        "temporal.activities.start_to_close_timeout_s": _seconds(first.start_to_close_timeout),
        "temporal.activities.schedule_to_close_timeout_s": _seconds(first.schedule_to_close_timeout),
        "temporal.activities.schedule_to_start_timeout_s": _seconds(first.schedule_to_start_timeout),
        "temporal.activities.heartbeat_timeout_s": _seconds(first.heartbeat_timeout),
        **dict(_retry("temporal.activities.retry", first.retry_policy)),
    }


def _retry(path: str, policy: Any) -> Iterator[tuple[str, Any]]:
    yield f"{path}.initial_interval_s", _seconds(policy.initial_interval)
    yield f"{path}.backoff_coefficient", policy.backoff_coefficient
    yield f"{path}.maximum_interval_s", _seconds(policy.maximum_interval)
    yield f"{path}.maximum_attempts", policy.maximum_attempts
    # The layer adds one of its own.
    yield f"{path}.non_retryable_error_types", [name for name in policy.non_retryable_error_types if name != TOO_LARGE]


def _seconds(duration: Duration) -> float:
    return duration.ToTimedelta().total_seconds()
