"""A workflow that uses every kind of call once; its recorded runs are in histories/. Changed code: changed.py."""

from __future__ import annotations

from temporalio import workflow
from temporalio.exceptions import ActivityError

from app.worker.registry import workflow_defn
from app.worker.workflows.base import BaseWorkflow
from tests.replay.activities import miss_the_train, visit, visit_abroad


@workflow_defn(queue="tour-abroad")
class Stop(BaseWorkflow[str, str]):
    async def run(self, input: str) -> str:
        return await self.execute_activity(visit, input)


@workflow_defn(queue="tour")
class Tour(BaseWorkflow[str, list[str]]):
    async def run(self, input: str) -> list[str]:
        seen = [
            await self.execute_activity(visit, input),
            await self.execute_activity(visit_abroad, "Lyon"),
            await self.execute_local_activity(visit, "the station"),
            await self.execute_child_workflow(Stop, "the sea"),
        ]
        await workflow.sleep(0.01)
        try:
            async with self.saga() as saga:
                saga.add(visit, "home again")
                saga.add(visit_abroad, "the inn again")
                await self.execute_activity(miss_the_train)
        except ActivityError:
            seen.append("missed the train")
        await workflow.wait_condition(lambda: self.is_cancelled)
        return [*seen, self.cancel_reason]
