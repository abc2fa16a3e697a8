"""BaseWorkflow: typed starts, activities without repeated options and queues, one cancel signal, one state query.

A subclass says its input and output once, `BaseWorkflow[OrderInput, OrderOutput]`, and both type checkers know the
result of every call. `starts.py` is what its callers use, `calls.py` and `children.py` what its own code uses.

These modules are shared by all workflow runs of a process, so they keep no state; what belongs to a run is made in
`__new__`.

What cancelling can and cannot do. `cancel` (the signal) asks the activities, local activities and children that run now
to stop; `handle.cancel()` of Temporal's client also interrupts timers and conditions that the code waits for. Either
way an activity's body is told with its next heartbeat, so one that does not heartbeat is never told.

- TRY_CANCEL, the default: the workflow goes on at once and sees a cancelled activity. A body that heartbeats stops a
  little later; one that does not ends its work, and nobody sees the result.
- WAIT_CANCELLATION_COMPLETED: the workflow waits until the body has ended. A body that heartbeats stops, and is seen as
  a cancelled activity; one that does not ends its work, and its result is seen as a success.

A step that must be undone if it happened therefore wants WAIT_CANCELLATION_COMPLETED.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar

from temporalio import workflow

from app.worker import sdk_definitions as sdk
from app.worker.workflows import contract
from app.worker.workflows.children import Children
from app.worker.workflows.saga import Saga
from app.worker.workflows.starts import Starts

TInput = TypeVar("TInput")
TReturn = TypeVar("TReturn")


class BaseWorkflow(Starts[TInput, TReturn], Children[TInput], Generic[TInput, TReturn]):
    """Base of the fleet's workflows. Subclasses define `run`; `@workflow.run` on it is optional."""

    _state: dict[str, Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        self = super().__new__(cls, *args, **kwargs)
        self._state = {}
        return self

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Raises RegistrationError with all that is wrong in the class."""
        super().__init_subclass__(**kwargs)
        if not workflow.unsafe.in_sandbox():
            contract.check(cls, BaseWorkflow)
        run = contract.own_run(cls, BaseWorkflow)
        if run is not None:
            cls.run = run  # type: ignore[method-assign]
            if not sdk.is_run_method(run):
                # Runs before any class decorator, so the SDK's own decorator then finds the method marked.
                workflow.run(run)

    async def run(self, input: TInput) -> TReturn:
        """The workflow's code."""
        raise NotImplementedError

    def saga(self, on_undo: Callable[[], None] | None = None) -> Saga:
        """`async with self.saga() as saga:` undoes what `saga.add(...)` registered if an error leaves the block.

        `on_undo` is called when that begins, for a word in `_state`. Raises UndoFailed, from that error, where an undo
        fails for good.
        """
        return Saga(on_undo)

    @workflow.signal
    def cancel(self, reason: str = "", stop_new: bool = False) -> None:
        """Ask all activities and children that run now to stop; with `stop_new` none can be started any more.

        What is started later still runs by default, so that compensations can; a second signal leaves that alone.
        The undos of a saga run in any case.
        """
        again, self._cancelled = self._cancelled, True
        self._cancel_reason = self._cancel_reason or reason
        self._stop_new = self._stop_new or stop_new
        if again:
            return
        for handle in list(self._running):
            handle.cancel(reason)

    @workflow.query
    def state(self) -> dict[str, Any]:
        """What the workflow says of itself: `_state`, and whether and why it was cancelled."""
        return {"cancelled": self.is_cancelled, "cancel_reason": self.cancel_reason, **self._state}

    @property
    def is_cancelled(self) -> bool:
        """Whether `cancel` was signalled or called, or Temporal was asked to cancel the workflow."""
        return self._cancelled or workflow.cancellation_reason() is not None

    @property
    def cancel_reason(self) -> str:
        """The reason given to `cancel` or to Temporal, empty without one."""
        return self._cancel_reason or workflow.cancellation_reason() or ""
