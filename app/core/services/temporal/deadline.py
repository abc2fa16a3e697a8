"""A limit for each call of a client that works for somebody who waits.

Without one a call to a server that froze lasts until the connection is found dead, which is half a minute. Waiting for
a result, for an update or for a list is meant to take long, and is left alone; so is a call with a limit of its own.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Protocol, TypeVar

from temporalio.client import (
    CancelWorkflowInput,
    CountWorkflowsInput,
    DescribeWorkflowInput,
    Interceptor,
    OutboundInterceptor,
    Plugin,
    QueryWorkflowInput,
    SignalWorkflowInput,
    StartWorkflowInput,
    TerminateWorkflowInput,
    WorkflowExecutionCount,
    WorkflowExecutionDescription,
    WorkflowHandle,
)
from temporalio.plugin import SimplePlugin


class _Input(Protocol):
    rpc_timeout: timedelta | None


I = TypeVar("I", bound=_Input)  # noqa: E741


def deadline_plugin(limit: timedelta) -> Plugin:
    """For a client: `limit` for every call that has none."""
    return SimplePlugin("worker-fleet-deadline", interceptors=[_Deadline(limit)])


class _Deadline(Interceptor):
    def __init__(self, limit: timedelta) -> None:
        self._limit = limit

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        return _Limited(next, self._limit)


class _Limited(OutboundInterceptor):
    def __init__(self, following: OutboundInterceptor, limit: timedelta) -> None:
        super().__init__(following)
        self._limit = limit

    def _limited(self, input: I) -> I:
        input.rpc_timeout = input.rpc_timeout or self._limit
        return input

    async def start_workflow(self, input: StartWorkflowInput) -> WorkflowHandle[Any, Any]:
        return await super().start_workflow(self._limited(input))

    async def signal_workflow(self, input: SignalWorkflowInput) -> None:
        await super().signal_workflow(self._limited(input))

    async def query_workflow(self, input: QueryWorkflowInput) -> Any:
        return await super().query_workflow(self._limited(input))

    async def describe_workflow(self, input: DescribeWorkflowInput) -> WorkflowExecutionDescription:
        return await super().describe_workflow(self._limited(input))

    async def count_workflows(self, input: CountWorkflowsInput) -> WorkflowExecutionCount:
        return await super().count_workflows(self._limited(input))

    async def cancel_workflow(self, input: CancelWorkflowInput) -> None:
        await super().cancel_workflow(self._limited(input))

    async def terminate_workflow(self, input: TerminateWorkflowInput) -> None:
        await super().terminate_workflow(self._limited(input))
