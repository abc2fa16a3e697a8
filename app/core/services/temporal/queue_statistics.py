"""What waits on task queues: backlogs, their age and rates, asked for as far as a budget goes.

Rejected: asking often of every queue with work in hand (twelve calls a type and minute for a steady load), and only of
those without a free slot (a burst of workflow tasks fills no slots; it was seen 17 s late).
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Iterator, Sequence
from itertools import islice, takewhile
from typing import Any, Generic, NamedTuple, TypeVar

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue, TaskQueueStats
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client

from app.core.services.temporal.asking import Asking

T = TypeVar("T")
AT_ONCE = 8  # the first touch of a queue loads its partitions; not those of a whole fleet in one moment
AGAIN_S = 5.0  # what failed, or is news, is asked again; the server caches its answer for so long
JITTER = 0.15  # of an interval: queues that were asked together do not stay together
GROWN = 1.5  # times the work at the last question, and a task more, is news and not noise


class Want(NamedTuple):
    """Statistics that are wanted: one task type of a queue, not older than `every_s`. Rank 0 is urgent, 1 is not."""

    rank: int
    task_queue: str
    task_type: str
    every_s: float
    work: float | None = None
    """How much its workers have to do, in any unit, where they say so; when that grows, AGAIN_S is enough."""

    @property
    def key(self) -> tuple[str, str]:
        return self.task_queue, self.task_type


class Answer(NamedTuple, Generic[T]):
    """The statistics of one task type of a queue, or why they could not be read; `at` in the clock's seconds."""

    at: float
    stats: T | str
    work: float
    """Of that time, but after the first neither much more nor much less than before: a low sample must not make the
    next one news."""
    chance: float
    """From 0 to 1; drawn once, as each look would else draw anew until it asks."""


def turn(want: Want, last: Answer[Any] | None) -> tuple[int, float]:
    """Rank and time of the next question."""
    if last is None:
        return want.rank, -math.inf
    news = want.work is not None and want.work > GROWN * last.work + 1
    every_s = min(want.every_s, AGAIN_S) if news or isinstance(last.stats, str) else want.every_s
    return 0 if news else want.rank, last.at + every_s * (1 + JITTER * last.chance)


def answered(want: Want, last: Answer[T] | None, now: float, stats: T | str, chance: float) -> Answer[T]:
    """What is kept of an answer; `last`: of the one before."""
    # What was asked for in vain stays news.
    told = None if isinstance(stats, str) else want.work
    if told is None:
        return Answer(now, stats, last.work if last else 0.0, chance)
    # A new operator finds work that is no jump. A queue that has only slept has an answer, with 0.
    if last is None:
        return Answer(now, stats, told, chance)
    # A jump stays news for some questions: its backlog may come after its first work.
    return Answer(now, stats, min(max(told, last.work / GROWN), GROWN * last.work + 1), chance)


class Statistics:
    """Backlogs and rates, a DescribeTaskQueue per queue and type. The last answers are kept."""

    def __init__(self, asking: Asking) -> None:
        self.answers: dict[tuple[str, str], Answer[TaskQueueStats]] = {}
        self._asking = asking

    async def refresh(self, client: Client, wanted: Sequence[Want]) -> set[str]:
        """Ask for what is too old, as far as the budget goes; in a rank first for what has waited longest.

        Rank 0 has three of four calls where there is not one for all. The task queues that were asked for.
        """
        now, gate = self._asking.clock(), asyncio.Semaphore(AT_ONCE)
        turns = sorted(((*turn(want, self.answers.get(want.key)), want) for want in wanted), key=lambda each: each[:2])
        due = [(rank, want) for rank, at, want in turns if at <= now]
        order = _mixed([want for rank, want in due if rank == 0], [want for rank, want in due if rank])
        asked = list(takewhile(lambda _: self._asking.take(), order))
        answers = await asyncio.gather(*(self._ask(client, gate, want.task_queue, want.task_type) for want in asked))
        new = [(want, stats) for want, stats in zip(asked, answers, strict=True) if stats is not None]
        for want, stats in new:
            self.answers[want.key] = answered(want, self.answers.get(want.key), now, stats, random.random())
        return {want.task_queue for want, _ in new}

    async def _ask(
        self, client: Client, gate: asyncio.Semaphore, task_queue: str, kind: str
    ) -> TaskQueueStats | str | None:
        try:
            await asyncio.wait_for(gate.acquire(), self._asking.timeout_s)
        except TimeoutError:
            # Others took all the time. That is no answer of Temporal's, and must not replace one.
            return None
        try:
            return await self._asking.attempt(_describe(client, task_queue, kind), "DescribeTaskQueue")
        finally:
            gate.release()


def _mixed(urgent: Sequence[Want], others: Sequence[Want]) -> Iterator[Want]:
    first, second = iter(urgent), iter(others)
    while some := [*islice(first, 3), *islice(second, 1)]:
        yield from some


async def _describe(client: Client, task_queue: str, kind: str) -> TaskQueueStats:
    request = DescribeTaskQueueRequest(
        namespace=client.namespace,
        task_queue=TaskQueue(name=task_queue),
        task_queue_type=TaskQueueType.Value(f"TASK_QUEUE_TYPE_{kind.upper()}"),
        report_stats=True,
    )
    answer = await client.workflow_service.describe_task_queue(request, retry=False)
    if not answer.HasField("stats"):
        raise RuntimeError("the server has no statistics")
    return answer.stats
