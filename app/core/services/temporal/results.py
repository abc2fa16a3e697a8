"""A result that does not fit its type is an error at the line that waits for it, which code and sagas can see.

The SDK converts a result when it arrives, before any workflow code runs; an error there ends the workflow from outside,
and nothing is undone. So what does not fit travels to the handle as a `_Misfit`, and the handle raises it. Nothing is
converted twice, and the order in which code runs stays the SDK's own. Rejected: a task around each handle, which runs
its code one step later (another order in replay) and would have to repeat how the SDK cancels.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar, cast

from pydantic import ValidationError
from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.contrib.pydantic import PydanticPayloadConverter
from temporalio.exceptions import ApplicationError, FailureError
from temporalio.worker import (
    ExecuteWorkflowInput,
    Interceptor,
    StartActivityInput,
    StartChildWorkflowInput,
    StartLocalActivityInput,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
)

H = TypeVar("H")


@dataclass(frozen=True)
class _Wanted:
    """Stands for the type of a result; the converter gives a `_Misfit` where it cannot make one."""

    type: Any
    of: str


@dataclass(frozen=True)
class _Misfit:
    wanted: _Wanted
    error: ValidationError

    def raised(self) -> ApplicationError:
        what = f"the result of {self.wanted.of} does not fit: {self.error}"
        error = ApplicationError(what, type="ResultMisfit", non_retryable=True)
        error.__cause__ = self.error
        return error


class FittingPayloadConverter(PydanticPayloadConverter):
    """Pydantic payloads; knows the types of results that `FittingResults` asks for."""

    def from_payloads(self, payloads: Sequence[Payload], type_hints: list[type] | None = None) -> list[Any]:
        wanted: Any = type_hints[0] if type_hints else None
        if not isinstance(wanted, _Wanted):
            return super().from_payloads(payloads, type_hints)
        try:
            return super().from_payloads(payloads, [wanted.type])
        except ValidationError as error:
            return [_Misfit(wanted, error)]


class FittingResults(Interceptor):
    """Worker interceptor: activities, local activities and children raise ApplicationError "ResultMisfit"."""

    def workflow_interceptor_class(self, input: WorkflowInterceptorClassInput) -> type[WorkflowInboundInterceptor]:
        return _Inbound


class _Inbound(WorkflowInboundInterceptor):
    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        super().init(_Outbound(outbound))

    async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:
        try:
            return await super().execute_workflow(input)
        except ExceptionGroup as group:
            # Of asyncio.TaskGroup; the SDK would try the task for ever, even where each error in it fails a run.
            if group.split((FailureError, ValidationError))[1] is not None:
                raise
            what = "; ".join(str(error) for error in _leaves(group))
            raise ApplicationError(f"{group.message}: {what}", type="ExceptionGroup") from group.exceptions[0]


class _Outbound(WorkflowOutboundInterceptor):
    def start_activity(self, input: StartActivityInput) -> workflow.ActivityHandle[Any]:
        input.ret_type = _wanted(input.ret_type, f"activity {input.activity}")
        return _raising(super().start_activity(input))

    def start_local_activity(self, input: StartLocalActivityInput) -> workflow.ActivityHandle[Any]:
        input.ret_type = _wanted(input.ret_type, f"local activity {input.activity}")
        return _raising(super().start_local_activity(input))

    async def start_child_workflow(self, input: StartChildWorkflowInput) -> workflow.ChildWorkflowHandle[Any, Any]:
        input.ret_type = _wanted(input.ret_type, f"workflow {input.workflow}")
        return _raising(await super().start_child_workflow(input))


def _leaves(error: Exception) -> list[Exception]:
    if isinstance(error, ExceptionGroup):
        return [leaf for each in error.exceptions for leaf in _leaves(each)]
    return [error]


def _wanted(type: Any, of: str) -> Any:
    converter: Any = workflow.payload_converter()
    inner = getattr(converter, "_inner_payload_converter", converter)  # The SDK wraps the one that was chosen.
    return _Wanted(type, of) if type is not None and isinstance(inner, FittingPayloadConverter) else type


def _raising(handle: H) -> H:
    cast(Any, handle).__class__ = _raising_class(cast(Any, type(handle)))
    return handle


@lru_cache
def _raising_class(of: type) -> type:
    """The SDK's handle class, whose value is an error if it is a `_Misfit`."""

    class Raising(cast(Any, of)):  # type: ignore[misc]
        def __await__(self) -> Generator[Any, None, Any]:
            return _fitting((yield from super().__await__()))

        def result(self) -> Any:
            return _fitting(super().result())

        def exception(self) -> BaseException | None:
            error = super().exception()
            value = super().result() if error is None else None
            return value.raised() if isinstance(value, _Misfit) else cast("BaseException | None", error)

    return Raising


def _fitting(value: Any) -> Any:
    if isinstance(value, _Misfit):
        raise value.raised()
    return value
