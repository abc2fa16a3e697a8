"""No eager start of a workflow on the client that this process's workers poll with.

For one the SDK's core asks a slot of the worker on a thread of its own, under the lock that a shutdown and a new client
take as well, and our slots (polls.py) need Python's. The two locks in the two orders would stop the whole process, its
watchdog too. What is given up is a few milliseconds: the first task goes through the queue, as it does for all others.
"""

from __future__ import annotations

from typing import Any

from temporalio.client import Interceptor, OutboundInterceptor, StartWorkflowInput, WorkflowHandle
from temporalio.plugin import SimplePlugin


def plugin() -> SimplePlugin:
    """The plugin for a worker's client: `request_eager_start` of a call has no effect."""
    return SimplePlugin("no-eager-starts", interceptors=[_Interceptor()])


class _Interceptor(Interceptor):
    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        return _Starts(super().intercept_client(next))


class _Starts(OutboundInterceptor):
    async def start_workflow(self, input: StartWorkflowInput) -> WorkflowHandle[Any, Any]:
        input.request_eager_start = False
        return await super().start_workflow(input)
