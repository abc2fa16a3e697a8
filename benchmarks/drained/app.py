"""The dense workflow as an application of the fleet."""

from __future__ import annotations

import asyncio

from app.worker.registry import activity_defn, workflow_defn
from app.worker.workflows.base import BaseWorkflow
from benchmarks.drained import body
from benchmarks.drained.body import TASK_QUEUE, Load


@activity_defn(queue=TASK_QUEUE)
async def work(shortest_s: float, longest_s: float) -> None:
    await body.work(shortest_s, longest_s)


@workflow_defn(queue=TASK_QUEUE)
class Dense(BaseWorkflow[Load, None]):
    async def run(self, input: Load) -> None:
        async def lane() -> None:
            for _ in range(input.activities // input.lanes):
                await self.execute_activity(work, 0.02, 0.5)

        await asyncio.gather(*(lane() for _ in range(input.lanes)))
