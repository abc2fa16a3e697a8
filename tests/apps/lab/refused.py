"""Workflows whose code catches a refused call and goes on, so that a replay must refuse the same calls."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, cast

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from app.worker.registry import workflow_defn
from app.worker.workflows.base import BaseWorkflow
from tests.apps.lab import activities, trips
from tests.apps.lab.cancels import Child


@workflow_defn(queue="lab")
class TriesAll(BaseWorkflow[float, list[str]]):
    """Each kind of call wrongly, with right ones between; then waits, and says what was refused."""

    async def run(self, input: float) -> list[str]:
        wrong: dict[str, Any] = {"task_queue": "typo"}
        self.seen: list[str] = []
        await self._try(lambda: self.execute_activity("missing", "x"))
        await self._try(lambda: self.execute_activity(activities.undeclared))
        await self._try(lambda: self.execute_activity(activities.length, "abc", **wrong))
        await self._try(lambda: self.execute_activity(activities.length, "abcd"))
        await self._try(lambda: self.execute_local_activity(activities.where_am_i_elsewhere))
        await self._try(lambda: self.execute_activity(activities.length, "x", **cast(Any, {"start_to_clse": 1})))
        await self._try(lambda: self.execute_activity(activities.length, "x", start_to_close_timeout=None))
        await self._try(lambda: self.execute_child_workflow(Child, "x", **wrong))
        await self._try(lambda: self.execute_child_workflow("Missing", "x"))
        await self._try(lambda: self._continues())
        await self._try(lambda: self.execute_local_activity(activities.length, "abcde"))
        self._state["waits"] = True
        await workflow.wait_condition(lambda: self.is_cancelled)
        return [*self.seen, f"{await self.execute_activity(activities.length, 'abcdef')}"]

    async def _try(self, call: Any) -> None:
        try:
            self.seen.append(str(await call()))
        except ApplicationError as error:
            self.seen.append(str(error.type))

    async def _continues(self) -> None:
        self.continue_as_new(1.0, **cast(Any, {"memoo": {}}))

    @workflow.update
    async def call(self, name: str) -> str:
        return str(await self.execute_activity(name, "x"))


@workflow_defn(queue="lab")
class BooksWrongly(BaseWorkflow[str, None]):
    """A saga in which a call is refused, or the adding of an undo."""

    async def run(self, input: str) -> None:
        async with self.saga() as saga:
            for what in ("flight", "hotel"):
                saga.add(trips.unbook, await self.execute_activity(trips.book, what))
            if input == "call":
                await self.execute_activity(trips.book, "car", task_queue="typo")
            else:
                saga.add("unbok", "car", start_to_close_timeout=timedelta(seconds=5))
