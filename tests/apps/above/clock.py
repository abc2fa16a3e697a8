"""A workflow that looks at the clock."""

from __future__ import annotations

from datetime import datetime

from temporalio.worker.workflow_sandbox import RestrictedWorkflowAccessError

from app.worker.registry import workflow_defn
from app.worker.workflows.base import BaseWorkflow
from tests.apps.above import ping


@workflow_defn(queue="above")
class Clock(BaseWorkflow[int, str]):
    async def run(self, input: int) -> str:
        try:
            datetime.now()  # noqa: DTZ005 - refused
        except RestrictedWorkflowAccessError:
            return f"refused, {await self.execute_activity(ping, input)}"
        return "taken"
