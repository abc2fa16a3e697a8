from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pydantic
from temporalio.exceptions import ActivityError, CancelledError, is_cancelled_exception

from app.worker.registry import workflow_defn
from app.worker.workflows.base import BaseWorkflow
from tests.apps.lab import activities


class Point(pydantic.BaseModel):
    x: int


@workflow_defn(queue="lab")
class Routes(BaseWorkflow[None, list[str]]):
    async def run(self, input: None) -> list[str]:
        return [
            await self.execute_activity(activities.where_am_i),
            await self.execute_activity(activities.where_am_i_elsewhere),
            await self.execute_activity("where_am_i_elsewhere"),
        ]


@workflow_defn(queue="lab")
class Options(BaseWorkflow[None, list[list[float]]]):
    async def run(self, input: None) -> list[list[float]]:
        explicit = timedelta(seconds=7)
        return [
            await self.execute_activity(activities.options_seen, 1),
            await self.execute_activity(activities.options_seen, 1, start_to_close_timeout=explicit),
            await self.execute_local_activity(activities.options_seen, 1),
            await self.execute_local_activity(activities.options_seen, 1, start_to_close_timeout=explicit),
        ]


@workflow_defn(queue="lab")
class Misrouted(BaseWorkflow[str, None]):
    async def run(self, input: str) -> None:
        if input == "undeclared":
            await self.execute_activity(activities.undeclared)
        elif input == "unknown":
            await self.execute_activity("wher_am_i")
        else:
            await self.execute_activity(activities.where_am_i, task_queue=input)


@workflow_defn(queue="lab")
class Sleeps(BaseWorkflow[float, str]):
    """Has an `__init__` of its own that does not call ours."""

    def __init__(self) -> None:
        self.ended = ""

    async def run(self, input: float) -> str:
        try:
            return await self.execute_activity(activities.sleep_with_heartbeats, input)
        except (ActivityError, asyncio.CancelledError) as error:
            if not is_cancelled_exception(error):
                raise
        try:
            await self.execute_activity(activities.sleep, 0.1)
            self.ended = "compensated"
        except CancelledError:
            self.ended = "nothing new allowed"
        return self.ended


@workflow_defn(queue="lab")
class Slept(BaseWorkflow[float, str]):
    async def run(self, input: float) -> str:
        return await self.execute_activity(activities.sleep, input)


@workflow_defn(queue="lab")
class Invalid(BaseWorkflow[dict[str, Any], None]):
    async def run(self, input: dict[str, Any]) -> None:
        Point.model_validate(input)


@workflow_defn(queue="lab")
class Clock(BaseWorkflow[None, str]):
    async def run(self, input: None) -> str:
        return datetime.now().isoformat()  # noqa: DTZ005 - must be refused


@workflow_defn(queue="lab")
class Blocks(BaseWorkflow[float, None]):
    async def run(self, input: float) -> None:
        await self.execute_activity(activities.block_the_loop, input)


@workflow_defn(queue="lab")
class Swallows(BaseWorkflow[float, None]):
    async def run(self, input: float) -> None:
        await self.execute_activity(activities.swallow_the_cancel, input)
