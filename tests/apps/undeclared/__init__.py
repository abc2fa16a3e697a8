"""Code as the SDK's samples have it: decorated, but on no queue of the fleet."""

from __future__ import annotations

from temporalio import activity

from app.worker.registry import activity_defn


@activity.defn
async def forgotten() -> None: ...


@activity_defn(queue="undeclared")
async def declared() -> None: ...
