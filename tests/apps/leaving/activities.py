from __future__ import annotations

import asyncio
import select
import time

import pydantic
from temporalio import activity

from app.worker.hand_over import checkpoint, resumed
from app.worker.registry import activity_defn
from tests.apps.leaving.evidence import note


class Job(pydantic.BaseModel):
    """What a body is to do: `seconds` in one go, or `steps` of `step_s` seconds."""

    body: str
    seconds: float = 0.0
    steps: int = 0
    step_s: float = 0.0
    heartbeat_s: float | None = None
    attempts: int = 0
    close_s: float = 120.0


class Progress(pydantic.BaseModel):
    done: int = 0


@activity_defn(queue="leaving")
async def blocks_the_loop(job: Job) -> None:
    note("start")
    if activity.info().attempt == 1:
        time.sleep(job.seconds)  # noqa: ASYNC251 - the fault that the watchdog is for
    note("end")


@activity_defn(queue="leaving")
async def swallows_the_cancel(job: Job) -> None:
    note("start")
    end = time.monotonic() + job.seconds
    while activity.info().attempt == 1 and time.monotonic() < end:
        try:
            await asyncio.sleep(end - time.monotonic())
        except asyncio.CancelledError:
            continue
    note("end")


@activity_defn(queue="leaving")
def blocks_in_c(job: Job) -> None:
    note("start")
    if activity.info().attempt == 1:
        select.select([], [], [], job.seconds)  # one call of C: an exception waits for its return
    note("end")


@activity_defn(queue="leaving")
async def sleeps(job: Job) -> str:
    note("start")
    await asyncio.sleep(job.seconds)
    note("end")
    return "slept"


@activity_defn(queue="leaving")
async def fails(job: Job) -> str:
    note("start")
    await asyncio.sleep(job.seconds)
    note("end")
    raise ValueError("as told")


@activity_defn(queue="leaving")
async def exports(job: Job) -> int:
    note("start")
    progress = resumed(Progress())
    while progress.done < job.steps:
        await asyncio.sleep(job.step_s)
        note("step", number=progress.done)
        progress = Progress(done=progress.done + 1)
        checkpoint(progress)
    note("end")
    return progress.done


@activity_defn(queue="leaving")
def exports_sync(job: Job) -> int:
    note("start")
    done = resumed(0)
    while done < job.steps:
        time.sleep(job.step_s)
        note("step", number=done)
        done += 1
        checkpoint(done)
    note("end")
    return done


@activity_defn(queue="leaving")
def reaches_and_blocks(job: Job) -> int:
    note("start")
    if activity.info().attempt == 1:
        for done in (1, 2, 3):
            checkpoint(done)
        note("reached")
        select.select([], [], [], job.seconds)
    note("end")
    return resumed(0)
