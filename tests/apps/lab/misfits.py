"""Results, arguments and errors that do not fit, met in the middle of a saga or caught by the code."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from app.worker.registry import workflow_defn
from app.worker.workflows.base import BaseWorkflow
from tests.apps.lab import activities, trips


@workflow_defn(queue="lab")
class WrongResult(BaseWorkflow[str, int]):
    async def run(self, input: str) -> int:
        return cast(int, "nope")


@workflow_defn(queue="lab")
class MeetsMisfits(BaseWorkflow[str, list[str]]):
    """`input` says which kind of call gives the wrong result, or is wrong."""

    async def run(self, input: str) -> list[str]:
        async with self.saga(lambda: self._state.update(undoing=True)) as saga:
            saga.add(trips.unbook, await self.execute_activity(trips.book, "flight"))
            match input:
                case "undo":
                    saga.add(activities.wrong_number, "x")
                    await self.execute_activity(activities.fail_for_good)
                case "argument of an undo":
                    saga.add(trips.unbook, cast(Any, object()))
                case "taskgroup":
                    async with asyncio.TaskGroup() as group:
                        group.create_task(self.execute_activity(activities.fail_for_good))
                case "caught":
                    return await self._catches()
                case _:
                    await self._wrong(input)
        return []

    async def _wrong(self, how: str) -> Any:
        match how:
            case "activity":
                return await self.execute_activity(activities.wrong_number, "x")
            case "local activity":
                return await self.execute_local_activity(activities.wrong_number, "x")
            case "child":
                return await self.execute_child_workflow(WrongResult, "x")
            case "gathered":
                return await asyncio.gather(self.start_activity(activities.wrong_number, "x"))
            case _:
                handle = self.start_activity(activities.wrong_number, "x")
                await workflow.wait([handle])
                return handle.result()

    async def _catches(self) -> list[str]:
        seen = []
        for how in ("activity", "local activity", "child", "gathered", "waited for"):
            try:
                await self._wrong(how)
            except ApplicationError as error:
                seen.append(f"{how}: {error.type}")
        await workflow.sleep(0.01)
        return [*seen, f"{await self.execute_activity(activities.length, 'right')}"]
