from __future__ import annotations

import asyncio
import time
from typing import cast

from temporalio import activity
from temporalio.exceptions import ApplicationError

from app.worker.registry import activity_defn


@activity_defn(queue="lab")
async def where_am_i() -> str:
    return activity.info().task_queue


@activity_defn(queue="lab-other")
def where_am_i_elsewhere() -> str:
    return activity.info().task_queue


@activity_defn(queue="lab")
async def options_seen(_: int) -> list[float]:
    """start-to-close and heartbeat timeouts in seconds, 0 for none; maximum attempts cannot be seen from inside."""
    info = activity.info()
    close, beat = info.start_to_close_timeout, info.heartbeat_timeout
    return [close.total_seconds() if close else 0, beat.total_seconds() if beat else 0]


@activity_defn(queue="lab")
async def sleep(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "slept"


@activity_defn(queue="lab")
async def sleep_with_heartbeats(seconds: float) -> str:
    for _ in range(int(seconds / 0.1)):
        activity.heartbeat()
        await asyncio.sleep(0.1)
    return "slept"


@activity_defn(queue="lab")
async def block_the_loop(seconds: float) -> None:
    time.sleep(seconds)  # noqa: ASYNC251 - the fault that the watchdog is for


@activity_defn(queue="lab")
async def swallow_the_cancel(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            await asyncio.sleep(end - time.monotonic())
        except asyncio.CancelledError:
            continue


@activity_defn(queue="lab")
async def fail_for_good() -> None:
    raise ApplicationError("no use", type="NoUse", non_retryable=True)


@activity_defn(queue="lab")
def join(first: str, second: str, third: str = "-") -> str:
    return first + second + third


@activity_defn(queue="lab")
async def length(text: str) -> int:
    return len(text)


@activity_defn(queue="lab")
async def text_of_length(length: int) -> str:
    return "x" * length


@activity_defn(queue="lab")
async def wrong_number(_: str) -> int:
    return cast(int, "nope")


async def undeclared() -> None: ...
