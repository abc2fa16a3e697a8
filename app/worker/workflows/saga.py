"""Compensation: register how a step is undone, and when a later one fails, all of it is undone in reverse.

The undos are activities, so Temporal remembers which of them are done: they go on where they were after a crash of the
worker. They run in a task of their own that no cancelling reaches, whether it comes from Temporal, from the `cancel`
signal (with `stop_new` too), once or again; an undo ends only by succeeding or by using up its retries.

Rejected: any callable as an undo. One that fails in its middle is done half, and nobody can tell which half.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, TypeVar, TypeVarTuple, overload

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError
from typing_extensions import Unpack

from app.worker.options import ActivityOptions
from app.worker.routing import activity_queue, checked_call, refuse
from app.worker.workflows.calls import start_activity

R = TypeVar("R")
Ts = TypeVarTuple("Ts")


class UndoFailed(ApplicationError):
    """Something is left done. Its cause is the error that made the saga undo; the message names each undo."""


class Saga:
    """`async with self.saga() as saga:`; an exception that leaves the block undoes, and then goes on.

    Add an undo as soon as its step may have had an effect: after the step where its result is needed, before it where
    the step may fail halfway. Undos must bear being run twice, as any activity.
    """

    def __init__(self, on_undo: Callable[[], None] | None = None) -> None:
        self._on_undo = on_undo
        self._undos: list[tuple[Any, tuple[Any, ...], ActivityOptions]] = []

    @overload
    def add(self, undo: Callable[[Unpack[Ts]], R], /, *args: *Ts, **options: Unpack[ActivityOptions]) -> None: ...
    @overload
    def add(self, undo: str, /, *args: Any, **options: Unpack[ActivityOptions]) -> None: ...
    def add(self, undo: Any, /, *args: Any, **options: Unpack[ActivityOptions]) -> None:  # type: ignore[misc]
        """Register the activity that undoes a step, by function or name; `options` are those of an activity.

        Raises ApplicationError at once, not when it is needed, for a queue or activity that nobody serves, and for
        arguments that cannot be sent.
        """
        with checked_call():
            activity_queue(undo, options.get("task_queue"))
            try:
                args = tuple(RawValue(payload) for payload in workflow.payload_converter().to_payloads(args))
            except Exception as error:  # noqa: BLE001 - each converter has errors of its own
                refuse("BadArgument", f"an argument of {_name(undo)} cannot be sent: {error}", "Give it data.")
        self._undos.append((undo, args, options))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # Anything else (the end of this process's part, the next run of a chain) is no failure of the steps.
        if not isinstance(error, (Exception, asyncio.CancelledError)):
            return
        undoing = asyncio.create_task(self._undo())
        while not undoing.done():
            try:
                await asyncio.shield(undoing)
            except asyncio.CancelledError:
                continue
        failures = undoing.result()
        if failures:
            what = "; ".join(f"{undo}: {_reason(failure)}" for undo, failure in failures)
            raise UndoFailed(f"not undone: {what}", type="UndoFailed", non_retryable=True) from error

    async def _undo(self) -> list[tuple[str, Exception]]:
        """Undo in reverse; one that cannot be undone does not keep the others from it."""
        failures: list[tuple[str, Exception]] = []
        while self._undos:
            undo, args, options = self._undos.pop()
            try:
                running = start_activity(undo, args, options)
                # Not before: a run that only leaves this process's memory gets here too, but no further.
                self._begin()
                await running
            except Exception as failure:  # noqa: BLE001 - whatever it is, the other undos must run
                self._begin()
                # Done, though with another result than it declares.
                if not (isinstance(failure, ApplicationError) and failure.type == "ResultMisfit"):
                    failures.append((_name(undo), failure))
        return failures

    def _begin(self) -> None:
        on_undo, self._on_undo = self._on_undo, None
        if on_undo is not None:
            on_undo()


def _name(undo: Any) -> str:
    return str(getattr(undo, "__qualname__", undo))


def _reason(failure: Exception) -> str:
    return str(failure.__cause__ or failure)
