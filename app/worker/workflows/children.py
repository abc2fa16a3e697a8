"""Workflows that a workflow starts: children, and the next run of its own chain.

A child takes queue and types from its class, and timeouts and retries from the configuration as a start does. The type
checkers read its types off its `run`, so the class itself is what a caller names.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, Generic, NoReturn, Protocol, TypeVar, cast, overload

from temporalio import workflow
from typing_extensions import Unpack

from app.core.config import process_settings
from app.worker.options import ChildOptions, ContinueOptions, run_defaults
from app.worker.routing import checked_call, child_queue, require_options
from app.worker.workflows.calls import Calls

TInput = TypeVar("TInput")
A = TypeVar("A")
R = TypeVar("R")
W = TypeVar("W")
W_contra = TypeVar("W_contra", contravariant=True)
A_contra = TypeVar("A_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)


class WorkflowClass(Protocol[W_contra, A_contra, R_co]):
    """A workflow class as a value: its `run` says what it takes and gives."""

    def run(self, this: W_contra, input: A_contra, /) -> Awaitable[R_co]: ...


class Children(Calls, Generic[TInput]):
    """Methods of the running workflow."""

    @overload
    async def start_child_workflow(
        self, child: WorkflowClass[W, A, R], input: A, /, **options: Unpack[ChildOptions]
    ) -> workflow.ChildWorkflowHandle[W, R]: ...
    @overload
    async def start_child_workflow(
        self, child: str, input: Any, /, *, result_type: type[R], **options: Unpack[ChildOptions]
    ) -> workflow.ChildWorkflowHandle[Any, R]: ...
    @overload
    async def start_child_workflow(
        self, child: str, input: Any, /, **options: Unpack[ChildOptions]
    ) -> workflow.ChildWorkflowHandle[Any, Any]: ...
    async def start_child_workflow(self, child: Any, input: Any, /, **options: Any) -> Any:
        """Start a child on its declared queue and wait until it has started; an explicit keyword wins.

        Raises CancelledError after `cancel(stop_new=True)`, ApplicationError for a queue or workflow nobody serves,
        temporalio.exceptions.WorkflowAlreadyStartedError.
        """
        self._require_open()
        with checked_call():
            require_options("a child workflow", options, _CHILD)
            queue = child_queue(child, options.get("task_queue"))
        defaults = run_defaults(process_settings().temporal.workflows)
        merged: dict[str, Any] = {**defaults, **options, "task_queue": queue}
        cancelled_before = self._cancelled
        handle = self._track(
            await workflow.start_child_workflow(child if isinstance(child, str) else child.run, input, **merged)
        )
        if self._cancelled and not cancelled_before:
            handle.cancel(self._cancel_reason)  # the signal came while it started
        return handle

    @overload
    async def execute_child_workflow(
        self, child: WorkflowClass[W, A, R], input: A, /, **options: Unpack[ChildOptions]
    ) -> R: ...
    @overload
    async def execute_child_workflow(
        self, child: str, input: Any, /, *, result_type: type[R], **options: Unpack[ChildOptions]
    ) -> R: ...
    @overload
    async def execute_child_workflow(self, child: str, input: Any, /, **options: Unpack[ChildOptions]) -> Any: ...
    async def execute_child_workflow(self, child: Any, input: Any, /, **options: Any) -> Any:
        """Run a child and wait for its result; see `start_child_workflow`. Raises also ChildWorkflowError."""
        return await (await self.start_child_workflow(child, input, **options))

    def continue_as_new(self, input: TInput, **options: Unpack[ContinueOptions]) -> NoReturn:
        """End this run and begin the next of the same workflow id with `input` and an empty history."""
        with checked_call():
            require_options("continue_as_new", options, ContinueOptions.__optional_keys__)
        workflow.continue_as_new(input, **cast("dict[str, Any]", options))


_CHILD = frozenset({*ChildOptions.__optional_keys__, "result_type"})
