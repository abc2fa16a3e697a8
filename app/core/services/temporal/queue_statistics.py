"""What waits on task queues: backlogs, their age and rates, asked for as far as a budget goes."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import NamedTuple

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue, TaskQueueStats
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client

from app.core.services.temporal.asking import Asking

AT_ONCE = 8  # the first touch of a queue loads its partitions; not those of a whole fleet in one moment
AGAIN_S = 5.0  # what failed is asked again
JITTER = 0.15  # of an interval: queues that were asked together do not stay together


class Want(NamedTuple):
    """Statistics that are wanted: one task type of a queue, not older than `every_s`. Lower ranks are asked first."""

    rank: int
    task_queue: str
    task_type: str
    every_s: float


class Answer(NamedTuple):
    """The statistics of one task type of a queue, or why they could not be read; `at` in the clock's seconds."""

    at: float
    stats: TaskQueueStats | str


class Statistics:
    """Backlogs and rates, a DescribeTaskQueue per queue and type. The last answers are kept."""

    def __init__(self, asking: Asking) -> None:
        self.answers: dict[tuple[str, str], Answer] = {}
        self._asking = asking

    async def refresh(self, client: Client, wanted: Sequence[Want]) -> set[str]:
        """Ask for what is too old, as far as the budget goes; in a rank first for what has waited longest.

        The task queues that were asked for.
        """
        now, gate = self._asking.clock(), asyncio.Semaphore(AT_ONCE)
        due = sorted((w.rank, self._due_at(w), *w[1:3]) for w in wanted)
        asked = [(queue, kind) for _, at, queue, kind in due if at <= now and self._asking.take()]
        answers = await asyncio.gather(*(self._ask(client, gate, *one) for one in asked))
        new = {one: Answer(now, stats) for one, stats in zip(asked, answers, strict=True) if stats is not None}
        self.answers |= new
        return {queue for queue, _ in new}

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

    def _due_at(self, want: Want) -> float:
        if (last := self.answers.get(want[1:3])) is None:
            return -math.inf
        every_s = min(want.every_s, AGAIN_S) if isinstance(last.stats, str) else want.every_s
        # By chance, but the same until it is asked: each look would else draw anew until it is let through.
        return last.at + every_s * (1 + JITTER * (hash((want[1:3], last.at)) % 997) / 997)


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
