"""Values of any size on every way that one can take."""

from __future__ import annotations

import pydantic
from temporalio import workflow
from temporalio.exceptions import ApplicationError

from app.worker.registry import workflow_defn
from app.worker.workflows.base import BaseWorkflow
from tests.apps.lab import activities
from tests.apps.lab.cancels import Child


class Load(pydantic.BaseModel):
    way: str
    size: int
    payload: str = ""


@workflow_defn(queue="lab")
class Carries(BaseWorkflow[Load, str]):
    async def run(self, input: Load) -> str:
        text = "x" * input.size
        match input.way:
            case "activity":
                await self.execute_activity(activities.length, text)
            case "activity result":
                await self.execute_activity(activities.text_of_length, input.size)
            case "local activity":
                await self.execute_local_activity(activities.length, text)
            case "local activity result":
                await self.execute_local_activity(activities.text_of_length, input.size)
            case "child":
                await self.execute_child_workflow(Child, text)
            case "next run":
                self.continue_as_new(Load(way="nothing", size=0, payload=text))
            case "result":
                return text
            case "caught":
                return await self._catches(text)
            case "waits":
                await workflow.wait_condition(lambda: self.is_cancelled)
        return "done"

    async def _catches(self, text: str) -> str:
        try:
            return str(await self.execute_activity(activities.length, text))
        except ApplicationError as error:
            return f"{error.type}, then {await self.execute_activity(activities.length, 'short')}"

    @workflow.update
    def echo(self, text: str, times: int) -> str:
        return text * times
