"""Activities that the test lets go, and a workflow that says what it saw of their being cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pydantic
from temporalio import workflow
from temporalio.exceptions import ActivityError, CancelledError, ChildWorkflowError, is_cancelled_exception
from temporalio.workflow import ActivityCancellationType

from app.worker.registry import workflow_defn
from app.worker.workflows.base import BaseWorkflow
from tests.apps.lab import bodies


class Plan(pydantic.BaseModel):
    beats: bool
    waits: bool


class Seen(pydantic.BaseModel):
    outcome: str
    body: str
    reason: str


@workflow_defn(queue="lab")
class Cancels(BaseWorkflow[Plan, Seen]):
    async def run(self, input: Plan) -> Seen:
        kind = ActivityCancellationType
        try:
            outcome = await self.execute_activity(
                bodies.hold_with_heartbeats if input.beats else bodies.hold,
                heartbeat_timeout=timedelta(seconds=5) if input.beats else None,
                cancellation_type=kind.WAIT_CANCELLATION_COMPLETED if input.waits else kind.TRY_CANCEL,
            )
        except ActivityError as error:
            outcome = "cancelled" if is_cancelled_exception(error) else "failed"
        body = await self.execute_activity(bodies.state_of_body)
        return Seen(outcome=outcome, body=body, reason=self.cancel_reason)


@workflow_defn(queue="lab")
class Initialised(BaseWorkflow[float, str]):
    """Has its input already when it is made."""

    @workflow.init
    def __init__(self, input: float) -> None:
        self.seconds = input

    async def run(self, input: float) -> str:
        try:
            return await self.execute_activity(bodies.hold)
        except ActivityError:
            return f"{self.cancel_reason} {self.seconds:g}"


@workflow_defn(queue="lab")
class MakesGood(BaseWorkflow[None, str]):
    """Once cancelled it starts what must not be cancelled any more."""

    async def run(self, input: None) -> str:
        await workflow.wait_condition(lambda: self.is_cancelled)
        return await self.execute_activity(bodies.hold)


@workflow_defn(queue="lab")
class SeedsSignal(BaseWorkflow[None, str]):
    async def run(self, input: None) -> str:
        try:
            return await self.execute_activity(bodies.hold)
        except ActivityError:
            await workflow.wait_condition(lambda: self._state.get("ask") == "over")
            return str(self._state["cancel_reason"])

    @workflow.signal
    def custom_cancel_order(self, reason: str):  # type: ignore[no-untyped-def]  # as the description of users has it
        # Call base class cancel() - it handles activity cleanup
        self.cancel()
        self._state["cancel_reason"] = reason

    @workflow.signal
    def end(self) -> None:
        self._state["ask"] = "over"


@workflow_defn(queue="lab")
class Child(BaseWorkflow[str, str]):
    async def run(self, input: str) -> str:
        if input == "hold":
            await workflow.wait_condition(lambda: False)
        return f"{input} on {workflow.info().task_queue}"


@workflow_defn(queue="lab-other")
class ChildElsewhere(BaseWorkflow[str, str]):
    async def run(self, input: str) -> str:
        return f"{input} on {workflow.info().task_queue}"


@workflow_defn(queue="lab")
class CancelsAll(BaseWorkflow[None, list[str]]):
    """An activity, a local activity and a child run; one signal ends all three."""

    async def run(self, input: None) -> list[str]:
        child = await self.start_child_workflow(Child, "hold", id=f"{workflow.info().workflow_id}-child")
        running: list[Any] = [self.start_activity(bodies.hold), self.start_local_activity(bodies.hold_here), child]
        ended = await asyncio.gather(*running, return_exceptions=True)
        return [type(e).__name__ for e in ended if isinstance(e, BaseException) and is_cancelled_exception(e)]


@workflow_defn(queue="lab")
class CancelsEarly(BaseWorkflow[None, str]):
    """The cancel comes while Temporal still starts the child."""

    async def run(self, input: None) -> str:
        starting = asyncio.create_task(self.start_child_workflow(Child, "hold"))
        await asyncio.sleep(0)
        self.cancel("early")
        try:
            return await (await starting)
        except ChildWorkflowError as error:
            return "cancelled" if is_cancelled_exception(error) else "failed"


@workflow_defn(queue="lab")
class NothingNew(BaseWorkflow[None, list[str]]):
    """After cancel(stop_new=True) nothing can be started."""

    async def run(self, input: None) -> list[str]:
        await workflow.wait_condition(lambda: self.is_cancelled)
        refused = []
        starts: list[Callable[[], Awaitable[str]]] = [
            lambda: self.execute_activity(bodies.state_of_body),
            lambda: self.execute_local_activity(bodies.state_of_body),
            lambda: self.execute_child_workflow(Child, "x"),
        ]
        for start in starts:
            try:
                await start()
            except CancelledError as error:
                refused.append(str(error))
        return refused
