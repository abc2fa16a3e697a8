"""Activities whose end the test decides; what they saw stands in dictionaries by workflow id."""

from __future__ import annotations

import asyncio

from temporalio import activity

from app.worker.registry import activity_defn

states: dict[str, str] = {}
released: set[str] = set()


async def _hold(beats: bool, suffix: str = "") -> str:
    me = (activity.info().workflow_id or "") + suffix
    states[me] = "runs"
    try:
        while me not in released:
            if beats:
                activity.heartbeat()
            await asyncio.sleep(0.05)
    except asyncio.CancelledError:
        states[me] = "told"
        raise
    states[me] = "ended"
    return "done"


@activity_defn(queue="lab")
async def hold() -> str:
    return await _hold(beats=False)


@activity_defn(queue="lab")
async def hold_here() -> str:
    return await _hold(beats=False, suffix="-local")


@activity_defn(queue="lab")
async def hold_with_heartbeats() -> str:
    return await _hold(beats=True)


@activity_defn(queue="lab")
async def state_of_body() -> str:
    return states[activity.info().workflow_id or ""]
