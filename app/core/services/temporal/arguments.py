"""Arguments that do not fit a workflow's `run` or a handler of it: refused with a message, instead of a stuck run.

The SDK calls the method with whatever was sent. The TypeError then fails the workflow task, which is tried again for
ever: one signal with a missing argument, from anybody, would block its workflow for good. A `run` that cannot be called
fails the workflow; a signal that does not fit is dropped with a log line, as the SDK itself does with one whose
arguments cannot be converted; an update fails for its sender.
Rejected: failing the workflow for a bad signal, a power that its sender must not have.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ApplicationError
from temporalio.worker import (
    ExecuteWorkflowInput,
    HandleSignalInput,
    HandleUpdateInput,
    Interceptor,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
)


class FittingArguments(Interceptor):
    """Worker interceptor that looks at the number of arguments before a method is called with them."""

    def workflow_interceptor_class(self, input: WorkflowInterceptorClassInput) -> type[WorkflowInboundInterceptor]:
        return _Inbound


class _Inbound(WorkflowInboundInterceptor):
    async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:
        if misfit := _misfit(input.run_fn, [workflow.instance(), *input.args]):
            name = workflow.info().workflow_type
            raise ApplicationError(
                f"workflow {name} was started with {misfit}. Start it with the input of its run().",
                type="WrongArguments",
                non_retryable=True,
            )
        return await super().execute_workflow(input)

    async def handle_signal(self, input: HandleSignalInput) -> None:
        handler = workflow.get_signal_handler(input.signal)
        if handler is not None and (misfit := _misfit(handler, input.args)):
            workflow.logger.error(
                "signal %s was sent with %s, and is dropped. Send it as its handler is declared.", input.signal, misfit
            )
            return
        await super().handle_signal(input)

    def handle_update_validator(self, input: HandleUpdateInput) -> None:
        _require_fitting_update(input)
        super().handle_update_validator(input)

    async def handle_update_handler(self, input: HandleUpdateInput) -> Any:
        _require_fitting_update(input)  # The SDK asks for validation only where a validator is declared.
        return await super().handle_update_handler(input)


def _require_fitting_update(input: HandleUpdateInput) -> None:
    handler = workflow.get_update_handler(input.update)
    if handler is not None and (misfit := _misfit(handler, input.args)):
        raise ApplicationError(
            f"update {input.update} was sent with {misfit}. Send it as its handler is declared.",
            type="WrongArguments",
            non_retryable=True,
        )


def _misfit(function: Callable[..., Any], arguments: Sequence[Any]) -> str:
    """Why `function` cannot be called with `arguments`, empty if it can."""
    if inspect.isfunction(function):
        # The SDK binds an async method by a function around it that takes anything.
        inner = inspect.getclosurevars(function).nonlocals
        if inner.keys() >= {"fn", "obj"}:
            function = functools.partial(inner["fn"], inner["obj"])
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError as error:
        return f"arguments that do not fit: {error}"
    return ""
