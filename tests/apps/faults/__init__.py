"""Work for the fault tests. Each body writes a line at its start and its end to the file that FAULTS_EVIDENCE names."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from temporalio import activity, workflow

from app.worker.registry import activity_defn, workflow_defn
from app.worker.workflows.base import BaseWorkflow

_hoard: list[bytes] = []


def _write(what: str) -> None:
    info = activity.info()
    line = f"{what} {info.workflow_id} {info.attempt} {os.getpid()} {time.time():.3f}\n"
    # One write of one line that is appended: processes that share the file do not mix their lines.
    with Path(os.environ["FAULTS_EVIDENCE"]).open("ab", buffering=0) as file:
        file.write(line.encode())


@activity_defn(queue="faults")
async def rest(seconds: float) -> int:
    """Heartbeats while it rests; returns the pid that it ended in."""
    _write("start")
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        activity.heartbeat()
        await asyncio.sleep(0.1)
    _write("end")
    return os.getpid()


@activity_defn(queue="faults")
async def grow(megabytes: int) -> int:
    """A leak."""
    _write("start")
    for _ in range(megabytes):
        _hoard.append(b"x" * 1024 * 1024)
        await asyncio.sleep(0)
    _write("end")
    return os.getpid()


@activity_defn(queue="faults")
async def hold_the_loop(seconds: float) -> None:
    _write("start")
    time.sleep(seconds)  # noqa: ASYNC251 - the fault: here the loop is blocked


@workflow_defn(queue="faults")
class Rests(BaseWorkflow[float, int]):
    async def run(self, input: float) -> int:
        return await self.execute_activity(rest, input)


@workflow_defn(queue="faults")
class Waits(BaseWorkflow[None, int]):
    """Waits in memory for a signal."""

    def __init__(self) -> None:
        self._called = False

    @workflow.signal
    def call(self) -> None:
        self._called = True

    async def run(self, input: None) -> int:
        await workflow.wait_condition(lambda: self._called)
        return await self.execute_activity(rest, 0.0)


@workflow_defn(queue="faults")
class Grows(BaseWorkflow[int, int]):
    async def run(self, input: int) -> int:
        return await self.execute_activity(grow, input)


@workflow_defn(queue="faults")
class Blocks(BaseWorkflow[float, None]):
    async def run(self, input: float) -> None:
        await self.execute_activity(hold_the_loop, input)
