"""Activities that declare their time, in every shape; each answers with the options that Temporal gave it."""

from __future__ import annotations

from datetime import timedelta

from temporalio import activity
from temporalio.common import RetryPolicy

from app.worker.registry import activity_defn, register

Seen = list[float]
"""start-to-close and heartbeat timeout in seconds, maximum attempts; 0 for none."""


def seen() -> Seen:
    info = activity.info()
    close, beat, retry = info.start_to_close_timeout, info.heartbeat_timeout, info.retry_policy
    return [
        close.total_seconds() if close else 0,
        beat.total_seconds() if beat else 0,
        retry.maximum_attempts if retry else 0,
    ]


@activity_defn(
    queue="promised",
    start_to_close_timeout=timedelta(seconds=9),
    heartbeat_timeout=timedelta(seconds=4),
    retry_policy=RetryPolicy(maximum_attempts=3),
    on_drain="finish",
)
async def all_declared() -> Seen:
    return seen()


@activity_defn(queue="promised", start_to_close_timeout=timedelta(seconds=8))
@activity.defn(name="stacked")
async def over_the_sdks() -> Seen:
    return seen()


@activity_defn(queue="promised")
async def nothing_declared() -> Seen:
    return seen()


class Shop:
    @activity_defn(queue="promised", start_to_close_timeout=timedelta(seconds=7))
    async def method(self) -> Seen:
        return seen()


@activity_defn(queue="promised", start_to_close_timeout=timedelta(seconds=6))
class CallMe:
    async def __call__(self) -> Seen:
        return seen()


shop = register(Shop())
call_me = register(CallMe())
