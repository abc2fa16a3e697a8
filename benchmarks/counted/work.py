"""The work of counted pods: activities that only wait, the workflow that calls them, and a book of what became of them.

All workers are of one process, so the book is exact: which pod holds which activity at this moment, and which was begun
and not finished. What Temporal tells is not asked; it is what the operator under measurement goes by.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from temporalio import activity, workflow
from temporalio.client import ActivityHandle, Client, WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode

ACTIVITY = "wait"
CLOSE_S = 120.0
"""Longer than it takes may an activity be away, before the server gives it to somebody else."""


@dataclass
class Body:
    """One run of an activity in a pod: began, and ended or was cut; monotonic seconds."""

    task_queue: str
    pod: str
    began_at: float
    ended_at: float | None = None
    cut_at: float | None = None


@dataclass
class Book:
    """Every body that ran."""

    bodies: list[Body] = field(default_factory=list)
    _in_hand: Counter[str] = field(default_factory=Counter)

    def in_hand(self, pod: str) -> int:
        """Activities that a pod holds now."""
        return self._in_hand[pod]

    def of(self, task_queue: str) -> list[Body]:
        """The bodies of one task queue, in the order of their beginning."""
        return [body for body in self.bodies if body.task_queue == task_queue]

    def ends(self, task_queue: str) -> list[float]:
        """When those that were finished ended."""
        return [body.ended_at for body in self.of(task_queue) if body.ended_at is not None]

    @contextmanager
    def body(self, task_queue: str, pod: str) -> Iterator[None]:
        """One body, from its beginning to its end."""
        self.bodies.append(body := Body(task_queue, pod, time.monotonic()))
        self._in_hand[pod] += 1
        try:
            yield
        except BaseException:
            body.cut_at = time.monotonic()
            raise
        else:
            body.ended_at = time.monotonic()
        finally:
            self._in_hand[pod] -= 1


def waits(book: Book, pod: str) -> Any:
    """The activity, as one pod has it."""

    @activity.defn(name=ACTIVITY)
    async def wait(seconds: float) -> None:
        with book.body(activity.info().task_queue, pod):
            await asyncio.sleep(seconds)

    return wait


@workflow.defn(sandboxed=False)
class Calls:
    """Calls activities on a task queue, a batch at once, one batch after the other."""

    @workflow.run
    async def run(self, task_queue: str, batches: list[list[float]]) -> None:
        for batch in batches:
            calls = (
                workflow.execute_activity(
                    ACTIVITY, s, task_queue=task_queue, start_to_close_timeout=timedelta(seconds=s + CLOSE_S)
                )
                for s in batch
            )
            await asyncio.gather(*calls)


async def call(client: Client, on: str, task_queue: str, batches: Sequence[Sequence[float]]) -> None:
    """A workflow on the task queue `on` calls the batches on another, or its own; returns when they are done."""
    every = [list(batch) for batch in batches]
    await _end(await client.start_workflow(Calls.run, args=[task_queue, every], id=str(uuid.uuid4()), task_queue=on))


async def alone(client: Client, task_queue: str, seconds: float) -> None:
    """An activity of no workflow; returns when it is done."""
    limit, id_ = timedelta(seconds=seconds + CLOSE_S), str(uuid.uuid4())
    await _end(
        await client.start_activity(ACTIVITY, seconds, id=id_, task_queue=task_queue, start_to_close_timeout=limit)
    )


async def _end(handle: WorkflowHandle[Any, Any] | ActivityHandle[Any]) -> None:
    while True:
        try:
            await handle.result()
        except RPCError as error:
            # "Workflow is busy", of a server on an overloaded machine: the work goes on all the same.
            if error.status is not RPCStatusCode.RESOURCE_EXHAUSTED:
                raise
            await asyncio.sleep(1)
        else:
            return
