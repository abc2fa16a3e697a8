"""Payloads over the server's limit fail the call that makes them, for good, where code can see it.

Without this the SDK refuses the whole task when it is sent ([TMPRL1103]) and tries again for ever: the workflow stays
"Running". Sent in spite of that (`disable_payload_error_limit`), the server terminates the workflow, so that nothing
can be undone, and an activity's result over 4 MB is lost without a word (measured with SDK 1.35 and server 1.32). So
the size is looked at where a value becomes a payload, which for an activity's argument is the very line of the call.

The limit is the server's own, read when a worker begins; until then Temporal's default holds. Two processes may know
different ones, so each refusal is kept in the history as a patch marker: a replay refuses what has one, nothing else.

Each value is looked at by itself. A few MB of values that each fit, made in one workflow task, are more than one
message to the server may have, and it terminates such a run ("GrpcMessageTooLarge"); that is not prevented here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from typing import Any, NoReturn

from temporalio import activity, client, workflow
from temporalio.api.common.v1 import Payload
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import (
    ContinueAsNewInput,
    ExecuteWorkflowInput,
    HandleUpdateInput,
    Interceptor,
    SignalChildWorkflowInput,
    SignalExternalWorkflowInput,
    StartActivityInput,
    StartChildWorkflowInput,
    StartLocalActivityInput,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
)

from app.core.services.temporal.results import FittingPayloadConverter

DEFAULT_LIMIT_BYTES = 2 * 1024 * 1024
"""limit.blobSize.error of a Temporal server where nobody changed it."""

_limit_bytes = DEFAULT_LIMIT_BYTES
_of_update: ContextVar[bool] = ContextVar("_of_update", default=False)
_marker: ContextVar[str] = ContextVar("_marker", default="")
"""The patch marker by which a replay knows whether what is converted now was refused."""

_REFUSED = "worker-fleet: {} too large"


class LimitedPayloadConverter(FittingPayloadConverter):
    """Pydantic payloads that fit the server. What a client starts and signals is left to the server's own word."""

    def to_payloads(self, values: Sequence[Any]) -> list[Payload]:
        """Raises ApplicationError "PayloadTooLarge" in workflows and activities, RPCError for a client's updates."""
        payloads = super().to_payloads(values)
        size = _size(payloads)
        if _fits(size):
            return payloads
        kinds = " and ".join(type(value).__name__ for value in values)
        what = f"{kinds} of {_mb(size)} MB, and Temporal takes {_mb(_limit_bytes)} MB"
        remedy = "Keep it in a store of your own, and pass its key."
        if workflow.in_workflow() or activity.in_activity():
            raise ApplicationError(f"{what}.\n  {remedy}", type="PayloadTooLarge", non_retryable=True)
        if _of_update.get():
            raise RPCError(f"Blob data size exceeds limit: {what}. {remedy}", RPCStatusCode.INVALID_ARGUMENT, b"")
        return payloads


def _size(payloads: Sequence[Payload]) -> int:
    """As the server measures: of the message that holds them all, which adds a few bytes to each."""
    return sum((size := payload.ByteSize()) + 1 + _varint_bytes(size) for payload in payloads)


def _varint_bytes(number: int) -> int:
    return max(1, (number.bit_length() + 6) // 7)


def _fits(size: int) -> bool:
    marker = _marker.get() if workflow.in_workflow() else ""
    if not marker:
        return size <= _limit_bytes
    if workflow.unsafe.is_replaying():
        return not workflow.patched(marker)
    return size <= _limit_bytes or not workflow.patched(marker)


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

    async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:
        result = await super().execute_workflow(input)
        _marker.set(_REFUSED.format("result"))  # Converted next, in this very task, which then ends.
        return result

    async def handle_update_handler(self, input: HandleUpdateInput) -> Any:
        result = await super().handle_update_handler(input)
        _marker.set(_REFUSED.format(f"result of update {input.id}"))
        return result


class _Outbound(WorkflowOutboundInterceptor):
    """Numbers what goes out, so that each has a marker of its own."""

    def __init__(self, next: WorkflowOutboundInterceptor) -> None:
        super().__init__(next)
        self._sent = 0

    def start_activity(self, input: StartActivityInput) -> workflow.ActivityHandle[Any]:
        with self._marked():
            return super().start_activity(input)

    def start_local_activity(self, input: StartLocalActivityInput) -> workflow.ActivityHandle[Any]:
        with self._marked():
            return super().start_local_activity(input)

    async def start_child_workflow(self, input: StartChildWorkflowInput) -> workflow.ChildWorkflowHandle[Any, Any]:
        with self._marked():
            return await super().start_child_workflow(input)

    async def signal_child_workflow(self, input: SignalChildWorkflowInput) -> None:
        with self._marked():
            await super().signal_child_workflow(input)

    async def signal_external_workflow(self, input: SignalExternalWorkflowInput) -> None:
        with self._marked():
            await super().signal_external_workflow(input)

    def continue_as_new(self, input: ContinueAsNewInput) -> NoReturn:
        with self._marked():
            workflow.payload_converter().to_payloads(input.args)
        super().continue_as_new(input)

    @contextmanager
    def _marked(self) -> Iterator[None]:
        self._sent += 1
        token = _marker.set(_REFUSED.format(f"call {self._sent}"))
        try:
            yield
        finally:
            _marker.reset(token)


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
        described = await of.workflow_service.describe_namespace(
            DescribeNamespaceRequest(namespace=of.namespace), timeout=timedelta(seconds=5)
        )
    except RPCError:
        return
    _limit_bytes = described.namespace_info.limits.blob_size_limit_error or _limit_bytes


def _mb(size: int) -> str:
    return f"{size / 1024 / 1024:.1f}"
