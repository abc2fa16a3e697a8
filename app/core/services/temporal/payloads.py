"""Payloads over the server's limit fail the call that makes them, for good, where code can see it.

Without this the SDK refuses the whole task when it is sent ([TMPRL1103]) and tries again for ever: the workflow stays
"Running". Sent in spite of that (`disable_payload_error_limit`), the server terminates the workflow, so that nothing
can be undone, and an activity's result over 4 MB is lost without a word (measured with SDK 1.35 and server 1.32). So
the size is looked at where a value becomes a payload, which for an activity's argument is the very line of the call.

The limit is the server's own, read when a worker begins; until then Temporal's default holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NoReturn

from temporalio import activity, client, workflow
from temporalio.api.common.v1 import Payload
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.contrib.pydantic import PydanticPayloadConverter
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import (
    ContinueAsNewInput,
    Interceptor,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
)

DEFAULT_LIMIT_BYTES = 2 * 1024 * 1024
"""limit.blobSize.error of a Temporal server where nobody changed it."""

_limit_bytes = DEFAULT_LIMIT_BYTES
_of_update: ContextVar[bool] = ContextVar("_of_update", default=False)


class LimitedPayloadConverter(PydanticPayloadConverter):
    """Pydantic payloads that fit the server. What a client starts and signals is left to the server's own word."""

    def to_payloads(self, values: Sequence[Any]) -> list[Payload]:
        """Raises ApplicationError "PayloadTooLarge" in workflows and activities, RPCError for a client's updates."""
        payloads = super().to_payloads(values)
        size = sum(payload.ByteSize() for payload in payloads)
        if size <= _limit_bytes:
            return payloads
        kinds = " and ".join(type(value).__name__ for value in values)
        what = f"{kinds} of {_mb(size)} MB, and Temporal takes {_mb(_limit_bytes)} MB"
        remedy = "Keep it in a store of your own, and pass its key."
        if workflow.in_workflow() or activity.in_activity():
            raise ApplicationError(f"{what}.\n  {remedy}", type="PayloadTooLarge", non_retryable=True)
        if _of_update.get():
            raise RPCError(f"Blob data size exceeds limit: {what}. {remedy}", RPCStatusCode.INVALID_ARGUMENT, b"")
        return payloads


class PayloadLimits(Interceptor, client.Interceptor):
    """Where the SDK or the server look too late: the next run's input, and an update's arguments.

    Without it the first ends the run's code without a word, and the second blocks the workflow for ever.
    """

    def workflow_interceptor_class(self, input: WorkflowInterceptorClassInput) -> type[WorkflowInboundInterceptor]:
        return _Inbound

    def intercept_client(self, next: client.OutboundInterceptor) -> client.OutboundInterceptor:
        return _Client(next)


class _Inbound(WorkflowInboundInterceptor):
    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        super().init(_Outbound(outbound))


class _Outbound(WorkflowOutboundInterceptor):
    def continue_as_new(self, input: ContinueAsNewInput) -> NoReturn:
        workflow.payload_converter().to_payloads(input.args)
        super().continue_as_new(input)


class _Client(client.OutboundInterceptor):
    async def start_workflow_update(self, input: client.StartWorkflowUpdateInput) -> client.WorkflowUpdateHandle[Any]:
        with _update():
            return await super().start_workflow_update(input)

    async def start_update_with_start_workflow(
        self, input: client.StartWorkflowUpdateWithStartInput
    ) -> client.WorkflowUpdateHandle[Any]:
        with _update():
            return await super().start_update_with_start_workflow(input)


@contextmanager
def _update() -> Iterator[None]:
    token = _of_update.set(True)
    try:
        yield
    finally:
        _of_update.reset(token)


async def learn_limit(of: client.Client) -> None:
    """Take over the limit of the client's namespace; where it cannot be asked, the last one stays."""
    global _limit_bytes
    try:
        described = await of.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=of.namespace))
    except RPCError:
        return
    _limit_bytes = described.namespace_info.limits.blob_size_limit_error or _limit_bytes


def _mb(size: int) -> str:
    return f"{size / 1024 / 1024:.1f}"
