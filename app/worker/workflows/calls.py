"""The side of a workflow that its own code uses: activities and local activities.

The declaration says the queue, and timeouts and retries where it wants; the configuration says the others, an explicit
keyword wins over both. What runs is remembered, so that `cancel` can end it. Options are only ever values, never
control flow, and there is never an activity id: so they may change between two deploys without breaking the replay of
open workflows.

One TypeVarTuple types a call with any number of arguments; overloads tell async functions from plain ones.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Self, TypeVar, TypeVarTuple, cast, overload

from temporalio import workflow
from temporalio.exceptions import CancelledError
from typing_extensions import Unpack

from app.core.config import activity_options
from app.worker import sdk_definitions as sdk
from app.worker.options import ActivityOptions, LocalActivityOptions, activity_defaults, local_activity_defaults
from app.worker.routing import (
    activity_queue,
    checked_call,
    promise_of,
    require_local,
    require_options,
    require_timeout,
)

A = TypeVar("A")
R = TypeVar("R")
Ts = TypeVarTuple("Ts")


class Calls:
    """What belongs to a run is made in `__new__`: a subclass may have any `__init__` and need not call ours."""

    _running: dict[asyncio.Future[Any], None]
    _cancelled: bool
    _cancel_reason: str
    _stop_new: bool
    _calls: int
    """How many calls were checked, see `routing.checked_call`."""

    def __new__(cls, *_args: Any, **_kwargs: Any) -> Self:
        self = super().__new__(cls)
        self._running = {}
        self._cancelled = False
        self._cancel_reason = ""
        self._stop_new = False
        self._calls = 0
        return self

    # Activities. `start_*` gives a handle at once, `execute_*` waits for the result and raises also ActivityError.

    @overload
    def start_activity(
        self,
        activity: Callable[[Unpack[Ts]], Awaitable[R]],
        /,
        *args: *Ts,
        **options: Unpack[ActivityOptions],
    ) -> workflow.ActivityHandle[R]: ...
    @overload
    def start_activity(
        self, activity: Callable[[Unpack[Ts]], R], /, *args: *Ts, **options: Unpack[ActivityOptions]
    ) -> workflow.ActivityHandle[R]: ...
    @overload
    def start_activity(
        self, activity: str, /, *args: Any, result_type: type[R], **options: Unpack[ActivityOptions]
    ) -> workflow.ActivityHandle[R]: ...
    @overload
    def start_activity(
        self, activity: str, /, *args: Any, **options: Unpack[ActivityOptions]
    ) -> workflow.ActivityHandle[Any]: ...
    def start_activity(self, activity: Any, /, *args: Any, **options: Any) -> Any:  # type: ignore[misc]  # as below
        """Start an activity on its declared queue, with its declared options, else the configured; a keyword wins.

        Raises CancelledError after `cancel(stop_new=True)`, ApplicationError for a queue or activity nobody serves.
        """
        self._require_open()
        return self._track(start_activity(activity, args, options))

    @overload
    async def execute_activity(
        self,
        activity: Callable[[Unpack[Ts]], Awaitable[R]],
        /,
        *args: *Ts,
        **options: Unpack[ActivityOptions],
    ) -> R: ...
    @overload
    async def execute_activity(
        self, activity: Callable[[Unpack[Ts]], R], /, *args: *Ts, **options: Unpack[ActivityOptions]
    ) -> R: ...
    @overload
    async def execute_activity(
        self, activity: str, /, *args: Any, result_type: type[R], **options: Unpack[ActivityOptions]
    ) -> R: ...
    @overload
    async def execute_activity(self, activity: str, /, *args: Any, **options: Unpack[ActivityOptions]) -> Any: ...
    async def execute_activity(self, activity: Any, /, *args: Any, **options: Any) -> Any:  # type: ignore[misc]
        """Run an activity and wait for its result; see `start_activity`."""
        return await self.start_activity(activity, *args, **options)

    # The same for `Shop.pay`, a method whose instance only the worker has.

    @overload
    def start_activity_method(
        self,
        activity: Callable[[A, Unpack[Ts]], Awaitable[R]],
        /,
        *args: *Ts,
        **options: Unpack[ActivityOptions],
    ) -> workflow.ActivityHandle[R]: ...
    @overload
    def start_activity_method(
        self, activity: Callable[[A, Unpack[Ts]], R], /, *args: *Ts, **options: Unpack[ActivityOptions]
    ) -> workflow.ActivityHandle[R]: ...
    def start_activity_method(self, activity: Any, /, *args: Any, **options: Any) -> Any:  # type: ignore[misc]
        """`start_activity` for a method named by its class."""
        return self.start_activity(activity, *args, **options)

    @overload
    async def execute_activity_method(
        self,
        activity: Callable[[A, Unpack[Ts]], Awaitable[R]],
        /,
        *args: *Ts,
        **options: Unpack[ActivityOptions],
    ) -> R: ...
    @overload
    async def execute_activity_method(
        self, activity: Callable[[A, Unpack[Ts]], R], /, *args: *Ts, **options: Unpack[ActivityOptions]
    ) -> R: ...
    async def execute_activity_method(self, activity: Any, /, *args: Any, **options: Any) -> Any:  # type: ignore[misc]
        """`execute_activity` for a method named by its class."""
        return await self.start_activity(activity, *args, **options)

    # Local activities: within the workflow task, for what takes milliseconds and may run twice.

    @overload
    def start_local_activity(
        self,
        activity: Callable[[Unpack[Ts]], Awaitable[R]],
        /,
        *args: *Ts,
        **options: Unpack[LocalActivityOptions],
    ) -> workflow.ActivityHandle[R]: ...
    @overload
    def start_local_activity(
        self, activity: Callable[[Unpack[Ts]], R], /, *args: *Ts, **options: Unpack[LocalActivityOptions]
    ) -> workflow.ActivityHandle[R]: ...
    @overload
    def start_local_activity(
        self, activity: str, /, *args: Any, result_type: type[R], **options: Unpack[LocalActivityOptions]
    ) -> workflow.ActivityHandle[R]: ...
    @overload
    def start_local_activity(
        self, activity: str, /, *args: Any, **options: Unpack[LocalActivityOptions]
    ) -> workflow.ActivityHandle[Any]: ...
    def start_local_activity(self, activity: Any, /, *args: Any, **options: Any) -> Any:  # type: ignore[misc]
        """Start a local activity, which must be declared on the workflow's own queue; see `start_activity`.

        For what takes milliseconds: while it runs, signals and queries wait, for most of `task_timeout_s`.
        """
        self._require_open()
        with checked_call():
            require_options("a local activity", options, _LOCAL_ACTIVITY)
            require_local(activity)
            queue = workflow.info().task_queue
            configured = activity_options(_type_name(activity), queue)
            defaults = local_activity_defaults(configured, promise_of(activity, queue))
            merged: dict[str, Any] = {**defaults, **options}
            require_timeout(activity, merged)
        return self._track(workflow.start_local_activity(cast(Any, activity), args=args, **merged))

    @overload
    async def execute_local_activity(
        self,
        activity: Callable[[Unpack[Ts]], Awaitable[R]],
        /,
        *args: *Ts,
        **options: Unpack[LocalActivityOptions],
    ) -> R: ...
    @overload
    async def execute_local_activity(
        self, activity: Callable[[Unpack[Ts]], R], /, *args: *Ts, **options: Unpack[LocalActivityOptions]
    ) -> R: ...
    @overload
    async def execute_local_activity(
        self, activity: str, /, *args: Any, result_type: type[R], **options: Unpack[LocalActivityOptions]
    ) -> R: ...
    @overload
    async def execute_local_activity(
        self, activity: str, /, *args: Any, **options: Unpack[LocalActivityOptions]
    ) -> Any: ...
    async def execute_local_activity(self, activity: Any, /, *args: Any, **options: Any) -> Any:  # type: ignore[misc]
        """Run a local activity and wait for its result; see `start_local_activity`."""
        return await self.start_local_activity(activity, *args, **options)

    def _require_open(self) -> None:
        if self._stop_new:
            raise CancelledError(f"cancelled: {self._cancel_reason}" if self._cancel_reason else "cancelled")

    def _track(self, handle: Any) -> Any:
        self._running[handle] = None
        handle.add_done_callback(lambda _: self._running.pop(handle, None))
        return handle


def start_activity(activity: Any, args: tuple[Any, ...], options: Mapping[str, Any]) -> workflow.ActivityHandle[Any]:
    """Start an activity as `Calls.start_activity` does, of which no `cancel` knows."""
    with checked_call():
        require_options("an activity", options, _ACTIVITY)
        queue = activity_queue(activity, options.get("task_queue"))
        configured = activity_options(_type_name(activity), queue)
        defaults = activity_defaults(configured, promise_of(activity, queue))
        merged: dict[str, Any] = {**defaults, **options, "task_queue": queue}
        require_timeout(activity, merged)
    return workflow.start_activity(cast(Any, activity), args=args, **merged)


def _type_name(activity: Any) -> str:
    return activity if isinstance(activity, str) else sdk.activity_name(activity)


_ACTIVITY = frozenset({*ActivityOptions.__optional_keys__, "result_type"})
_LOCAL_ACTIVITY = frozenset({*LocalActivityOptions.__optional_keys__, "result_type"})
