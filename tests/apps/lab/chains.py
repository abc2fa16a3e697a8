"""Workflows that start others, and that are started together with a signal or an update."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from app.worker.registry import workflow_defn
from app.worker.workflows.base import BaseWorkflow
from tests.apps.lab import activities
from tests.apps.lab.cancels import Child, ChildElsewhere


class NoQueue(BaseWorkflow[str, str]):
    """Declared nowhere."""

    async def run(self, input: str) -> str:
        return input


@workflow_defn(queue="lab")
class Parent(BaseWorkflow[None, list[str]]):
    async def run(self, input: None) -> list[str]:
        handle = await self.start_child_workflow(Child, "handle")
        return [
            await self.execute_child_workflow(Child, "a"),
            await self.execute_child_workflow(ChildElsewhere, "b"),
            await self.execute_child_workflow("ChildElsewhere", "c", result_type=str),
            await self.execute_child_workflow(Child, "d", run_timeout=None, id=f"{workflow.info().workflow_id}-d"),
            await handle,
        ]


@workflow_defn(queue="lab")
class Shapes(BaseWorkflow[None, list[Any]]):
    """Activities of every shape, by function, method and name; local ones too."""

    async def run(self, input: None) -> list[Any]:
        return [
            await self.execute_activity(activities.join, "a", "b"),
            await self.execute_activity(activities.join, "a", "b", "c"),
            await self.execute_activity("join", "a", "b", result_type=str),
            await self.execute_local_activity(activities.join, "l", "m"),
            await self.execute_local_activity(activities.where_am_i),
            await self.start_activity(activities.where_am_i),
        ]


@workflow_defn(queue="lab")
class Mistaken(BaseWorkflow[str, None]):
    """Each input is another call that must fail at once."""

    async def run(self, input: str) -> None:
        options: Any
        match input:
            case "child":
                await self.execute_child_workflow(NoQueue, "x")
            case "child by name":
                await self.execute_child_workflow("Chld", "x")
            case "child queue":
                await self.execute_child_workflow(Child, "x", task_queue="labb")
            case "local":
                await self.execute_local_activity(activities.where_am_i_elsewhere)
            case "no timeout":
                await self.execute_activity(activities.where_am_i, start_to_close_timeout=None)
            case "activity_id":
                options = {"activity_id": "mine"}
                await self.execute_activity(activities.where_am_i, **options)
            case "option":
                options = {"start_to_close_timout": timedelta(seconds=1)}
                await self.execute_activity(activities.where_am_i, **options)
            case "undo":
                async with self.saga() as saga:
                    saga.add(activities.undeclared)
            case _:
                raise ApplicationError(f"no case {input}", non_retryable=True)


@workflow_defn(queue="lab")
class Counts(BaseWorkflow[int, int]):
    async def run(self, input: int) -> int:
        if input < 3:
            self.continue_as_new(input + 1, memo={"round": input + 1})
        return input


@workflow_defn(queue="lab")
class Inbox(BaseWorkflow[str, list[str]]):
    async def run(self, input: str) -> list[str]:
        self._state.setdefault("mails", []).insert(0, input)
        await workflow.wait_condition(lambda: len(self._state["mails"]) > 2)
        return list(self._state["mails"])

    @workflow.signal
    def mail(self, sender: str, text: str) -> None:
        self._state.setdefault("mails", []).append(f"{sender}: {text}")

    @workflow.update
    def count(self, at_least: int) -> int:
        return max(len(self._state.get("mails", [])), at_least)

    @count.validator
    def _not_negative(self, at_least: int) -> None:
        if at_least < 0:
            raise ValueError("at_least is negative")
