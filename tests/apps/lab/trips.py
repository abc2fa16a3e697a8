"""Activities that book and unbook; what was undone stands in memory by workflow id, or in a file."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from pathlib import Path

from temporalio import activity
from temporalio.exceptions import ApplicationError

from app.core.config import get_settings
from app.worker.registry import activity_defn

unbooked: dict[str, list[str]] = defaultdict(list)
held: set[str] = set()
"""Undos that the test lets wait: "workflow-id ticket"."""


@activity_defn(queue="lab")
async def book(what: str) -> str:
    return f"ticket for {what}"


@activity_defn(queue="lab")
async def unbook(ticket: str) -> None:
    me = activity.info().workflow_id or ""
    unbooked[me].append(ticket)
    while f"{me} {ticket}" in held:
        await asyncio.sleep(0.05)


@activity_defn(queue="lab")
async def unbook_never(ticket: str) -> None:
    raise ApplicationError(f"{ticket} is not refundable", non_retryable=True)


@activity_defn(queue="lab")
async def unbook_in_file(ticket: str) -> None:
    """Waits on its first attempt, until the worker is killed."""
    with (Path(get_settings().local.data_dir) / "unbooked").open("a") as file:
        file.write(f"{activity.info().attempt} {ticket}\n")
    if activity.info().attempt == 1 and "hotel" in ticket:
        await asyncio.sleep(3600)
