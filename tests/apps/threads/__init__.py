"""Sync activities on two queues, and what they leave behind in threads."""

from __future__ import annotations

import asyncio
import threading
import time
from datetime import timedelta

from temporalio import activity

from app.worker.registry import activity_defn, workflow_defn
from app.worker.workflows.base import BaseWorkflow

_meeting = threading.Barrier(4)
"""Opens when four threads are here at once."""


@activity_defn(queue="threads")
def meet() -> str:
    _meeting.wait(20)
    return threading.current_thread().name


@activity_defn(queue="threads")
def block(seconds: float) -> str:
    """One blocking call: no cancel can interrupt it."""
    time.sleep(seconds)
    return "blocked"


@activity_defn(queue="threads")
def work_on(seconds: float) -> str:
    """Many short steps: a cancel is raised between two of them."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        activity.heartbeat()
        time.sleep(0.02)
    return "worked"


@activity_defn(queue="threads-other")
def name_of_thread() -> str:
    return threading.current_thread().name


@activity_defn(queue="threads-async")
async def leave_a_thread(seconds: float) -> None:
    await asyncio.to_thread(time.sleep, seconds)


@workflow_defn(queue="threads-async")
class Meets(BaseWorkflow[None, list[str]]):
    async def run(self, input: None) -> list[str]:
        names: list[str] = await asyncio.gather(*(self.execute_activity(meet) for _ in range(4)))
        return names


@workflow_defn(queue="threads-async")
class Runs(BaseWorkflow[tuple[str, float], str]):
    async def run(self, input: tuple[str, float]) -> str:
        name, seconds = input
        result: str = await self.execute_activity(name, seconds, heartbeat_timeout=timedelta(seconds=30))
        return result


@workflow_defn(queue="threads-async")
class Names(BaseWorkflow[None, str]):
    async def run(self, input: None) -> str:
        name: str = await self.execute_activity(name_of_thread)
        return name
