"""Mistakes between two deploys: what the next worker makes of runs that the last one left."""

from __future__ import annotations

import asyncio
from typing import Any

from temporalio.client import Client, WorkflowExecutionStatus

from tests.docs.reader import Reader
from tests.mistakes.conftest import Caller, failed_task, new_id
from tests.mistakes.page import Outcome, Section, mistake
from tests.mistakes.test_start_up import GOOD

SERVE = "python -m app.worker.main serve --drain-timeout 1"
TWO_STEPS = f"""\
from temporalio import workflow
{GOOD}

@workflow_defn(queue="shop")
class TwoSteps(BaseWorkflow[int, int]):
    async def run(self, input: int) -> int:
        paid = await self.execute_activity(pay, input)
        await workflow.wait_condition(lambda: self.is_cancelled)
        return paid
"""


@mistake("Workflow code that was changed under an open run")
def test_a_nondeterministic_change(page: Section, reader: Reader, caller: Caller) -> None:
    reader.write("shop/__init__.py", "")
    reader.write("shop/work.py", TWO_STEPS)
    workflow_id = new_id()

    async def first(client: Client) -> None:
        await client.start_workflow("TwoSteps", 1, id=workflow_id, task_queue="shop")
        handle = client.get_workflow_handle(workflow_id)
        while not any(
            event.HasField("activity_task_completed_event_attributes")
            for event in (await handle.fetch_history()).events
        ):
            await asyncio.sleep(0.1)

    async def then(client: Client) -> str:
        handle = client.get_workflow_handle(workflow_id)
        await handle.signal("cancel")
        message = await failed_task(handle)
        assert (await handle.describe()).status == WorkflowExecutionStatus.RUNNING
        return message

    async def after(client: Client) -> Any:
        return await client.get_workflow_handle(workflow_id).result()

    with reader.background(SERVE) as worker:
        worker.says("serving")
        caller(first)
        assert worker.stop() == 0
    reader.write("shop/work.py", TWO_STEPS.replace("        paid =", "        await workflow.sleep(1)\n        paid ="))
    with reader.background(SERVE) as worker:
        worker.says("serving")
        page.shows(Outcome.FAILED_TASK, caller(then))
        worker.stop()
    reader.write("shop/work.py", TWO_STEPS)
    with reader.background(SERVE) as worker:
        worker.says("serving")
        assert caller(after) == 1, "the remedy: the code of before goes on with the run"
        worker.stop()


@mistake("A build that is not current")
def test_a_build_that_is_not_current(page: Section, reader: Reader) -> None:
    reader.write("shop/__init__.py", GOOD)
    worker = {"VERSIONING": "pinned", "DEPLOYMENT_NAME": new_id(), "BUILD_ID": "two"}
    reader.env.update({f"FLEET_TEMPORAL__WORKER__{name}": value for name, value in worker.items()})
    with reader.background(SERVE) as serving:
        page.shows(Outcome.LOGGED, serving.says("Make it current"))
