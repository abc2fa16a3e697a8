"""The tour after a change that open runs do not survive: the replay test must fail for each."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow

from app.core.config import process_settings
from app.worker.workflows.base import BaseWorkflow
from tests.replay.activities import miss_the_train, visit, visit_abroad
from tests.replay.workflows import Tour


@workflow.defn(name="Tour")
class OtherActivity(BaseWorkflow[str, list[str]]):
    async def run(self, input: str) -> list[str]:
        return [await self.execute_activity(visit_abroad, input)]


@workflow.defn(name="Tour")
class ActivityIdByHand(BaseWorkflow[str, list[str]]):
    async def run(self, input: str) -> list[str]:
        return [
            await workflow.execute_activity(
                visit, input, activity_id="visit-1", start_to_close_timeout=timedelta(seconds=10)
            )
        ]


@workflow.defn(name="Tour")
class FlowFromConfig(Tour):
    async def run(self, input: str) -> list[str]:
        if process_settings().temporal.activities.retry.maximum_attempts > 3:
            await self.execute_activity(miss_the_train)
        return await super().run(input)


@workflow.defn(name="Tour")
class LocalInsteadOfRemote(BaseWorkflow[str, list[str]]):
    async def run(self, input: str) -> list[str]:
        return [await self.execute_local_activity(visit, input)]
