"""A queue with activities of a minute: busy for long, with nothing waiting."""

from __future__ import annotations

import asyncio

from app.worker.registry import activity_defn, workflow_defn
from app.worker.workflows.base import BaseWorkflow


@activity_defn(queue="slow")
async def rest(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "rested"


@workflow_defn(queue="slow")
class RestWorkflow(BaseWorkflow[float, str]):
    async def run(self, input: float) -> str:
        return await self.execute_activity(rest, input)
