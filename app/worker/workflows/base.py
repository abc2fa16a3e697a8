"""BaseWorkflow: typed starts, activities without repeated options and queues, one cancel signal, one state query.

A subclass says its input and output once, `BaseWorkflow[OrderInput, OrderOutput]`, and both type checkers know the
result of every call. Options come from the configuration and are only ever values (never control flow, never an
activity id), so they may change between two deploys without breaking the replay of open workflows.

The module is shared by all workflow runs of a process, so it keeps no state of its own; what belongs to a run is made
in `__new__`, so that a subclass may have any `__init__` and need not call ours.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, Generic, Self, TypeVar, cast, overload

from temporalio import workflow
from temporalio.client import Client, WorkflowHandle
from temporalio.converter import DataConverter
from temporalio.exceptions import CancelledError
from typing_extensions import Unpack

from app.core.config import activity_options, get_settings
from app.worker import sdk_definitions as sdk
from app.worker.options import ActivityOptions, ScheduleOptions, StartOptions, activity_defaults, start_defaults
from app.worker.registry import registry
from app.worker.routing import activity_queue

TInput = TypeVar("TInput")
TReturn = TypeVar("TReturn")
A = TypeVar("A")
R = TypeVar("R")

_OTHER_CONVERTER = (
    "this client converts data in the SDK's default way, the fleet's workers with pydantic: values would come back as "
    "other types.\nTake the client of TemporalClientService, or connect with plugins=fleet_plugins()."
)


class BaseWorkflow(Generic[TInput, TReturn]):
    """Base of the fleet's workflows. Subclasses define `run`; `@workflow.run` on it is optional."""

    _state: dict[str, Any]
    _running: dict[workflow.ActivityHandle[Any], None]
    _cancelled: bool
    _cancel_reason: str
    _stop_new: bool

    def __new__(cls, *_args: Any, **_kwargs: Any) -> Self:
        self = super().__new__(cls)
        self._state = {}
        self._running = {}
        self._cancelled = False
        self._cancel_reason = ""
        self._stop_new = False
        return self

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        run = cls.__dict__.get("run")
        if run is None:
            return
        _require_annotations(cls, run)
        if not sdk.is_run_method(run):
            # Runs before any class decorator, so the SDK's own decorator then finds the method marked.
            workflow.run(run)

    async def run(self, input: TInput) -> TReturn:
        """The workflow's code."""
        raise NotImplementedError

    # From outside: start it.

    @classmethod
    async def start_workflow(
        cls, client: Client, *, input: TInput, id: str, **options: Unpack[StartOptions]
    ) -> WorkflowHandle[Self, TReturn]:
        """Start a run on the declared queue; `options` are those of `Client.start_workflow` and win over config.yaml.

        Raises temporalio.exceptions.WorkflowAlreadyStartedError, temporalio.service.RPCError, and TypeError for a
        client that converts data in another way than the workers.
        """
        if client.data_converter is DataConverter.default:
            raise TypeError(_OTHER_CONVERTER)
        merged: dict[str, Any] = {**start_defaults(get_settings().temporal.workflows), **options}
        merged.setdefault("task_queue", cls.task_queue())
        return cast(
            "WorkflowHandle[Self, TReturn]", await client.start_workflow(cast(Any, cls.run), input, id=id, **merged)
        )

    @classmethod
    async def execute_workflow(
        cls, client: Client, *, input: TInput, id: str, **options: Unpack[StartOptions]
    ) -> TReturn:
        """Start a run and wait for its result. Raises what `start_workflow` does, and WorkflowFailureError."""
        handle = await cls.start_workflow(client, input=input, id=id, **options)
        return await handle.result()

    @classmethod
    async def schedule_workflow(
        cls, client: Client, *, input: TInput, id: str, start_delay: timedelta, **options: Unpack[ScheduleOptions]
    ) -> WorkflowHandle[Self, TReturn]:
        """Start a run that begins after `start_delay`; its id is taken at once."""
        return await cls.start_workflow(client, input=input, id=id, start_delay=start_delay, **options)

    @classmethod
    def task_queue(cls) -> str:
        """The queue of the declaration. Raises TypeError for a class without `@workflow_defn(queue=...)`."""
        handler = registry.find(cls)
        if handler is None:
            raise TypeError(f"{cls.__qualname__} is on no queue: decorate it with @workflow_defn(queue=...)")
        return handler.queue

    # From inside: call activities.

    @overload
    def start_activity(
        self, activity: Callable[[A], Awaitable[R]], arg: A, /, **options: Unpack[ActivityOptions]
    ) -> workflow.ActivityHandle[R]: ...
    @overload
    def start_activity(
        self, activity: Callable[[], Awaitable[R]], /, **options: Unpack[ActivityOptions]
    ) -> workflow.ActivityHandle[R]: ...
    @overload
    def start_activity(
        self, activity: Callable[[A], R], arg: A, /, **options: Unpack[ActivityOptions]
    ) -> workflow.ActivityHandle[R]: ...
    @overload
    def start_activity(
        self, activity: Callable[..., Any] | str, /, *args: Any, **options: Unpack[ActivityOptions]
    ) -> workflow.ActivityHandle[Any]: ...
    def start_activity(self, activity: Any, /, *args: Any, **options: Unpack[ActivityOptions]) -> Any:
        """Start an activity on its declared queue, with options from the configuration; an explicit keyword wins.

        Raises CancelledError after `cancel(stop_new=True)`, ApplicationError for a queue or activity nobody serves.
        """
        if self._stop_new:
            raise CancelledError(f"cancelled: {self._cancel_reason}" if self._cancel_reason else "cancelled")
        queue = activity_queue(activity, options.get("task_queue"))
        name = activity if isinstance(activity, str) else sdk.activity_name(activity)
        merged: dict[str, Any] = {**activity_defaults(activity_options(name, queue)), **options, "task_queue": queue}
        handle = workflow.start_activity(cast(Any, activity), args=list(args), **merged)
        self._running[handle] = None
        handle.add_done_callback(lambda _: self._running.pop(handle, None))
        return handle

    @overload
    async def execute_activity(
        self, activity: Callable[[A], Awaitable[R]], arg: A, /, **options: Unpack[ActivityOptions]
    ) -> R: ...
    @overload
    async def execute_activity(
        self, activity: Callable[[], Awaitable[R]], /, **options: Unpack[ActivityOptions]
    ) -> R: ...
    @overload
    async def execute_activity(
        self, activity: Callable[[A], R], arg: A, /, **options: Unpack[ActivityOptions]
    ) -> R: ...
    @overload
    async def execute_activity(
        self, activity: Callable[..., Any] | str, /, *args: Any, **options: Unpack[ActivityOptions]
    ) -> Any: ...
    async def execute_activity(self, activity: Any, /, *args: Any, **options: Unpack[ActivityOptions]) -> Any:
        """Run an activity and wait for its result; see `start_activity`. Raises also ActivityError."""
        return await self.start_activity(activity, *args, **options)

    # The cancel signal and the state query.

    @workflow.signal
    def cancel(self, reason: str = "", stop_new: bool = False) -> None:
        """Cancel the activities that run now; with `stop_new` none can be started any more.

        Activities started later still run by default, so that compensations can; a second signal leaves those alone.
        What cannot be promised: a body that does not heartbeat is never told and may finish its work.
        """
        again, self._cancelled = self._cancelled, True
        self._cancel_reason = self._cancel_reason or reason
        self._stop_new = self._stop_new or stop_new
        if again:
            return
        for handle in list(self._running):
            handle.cancel()

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


def _require_annotations(cls: type, run: Callable[..., Any]) -> None:
    missing = [
        name
        for name, parameter in list(inspect.signature(run).parameters.items())[1:]
        if parameter.annotation is inspect.Parameter.empty
    ]
    if missing:
        raise TypeError(
            f"{cls.__qualname__}.run: annotate {', '.join(missing)}; "
            "without a type the data converter hands over plain dicts"
        )
