"""What both sides of `benchmarks.drain` run: an activity that leaves evidence, in a workflow that is dense with it."""

from __future__ import annotations

import asyncio
import os
import random
from dataclasses import dataclass

from temporalio import activity

EVIDENCE = "DRAIN_EVIDENCE"
"""The variable with the path of the file that bodies append to."""
TASK_QUEUE = "drain"
START_TO_CLOSE_S = 10.0


@dataclass(frozen=True)
class Load:
    """`activities` one after the other, in `lanes` side by side."""

    activities: int
    lanes: int


async def work(shortest_s: float, longest_s: float) -> None:
    """A short activity; one line when it starts, one when it ends."""
    info = activity.info()
    name = f"{info.workflow_id} {info.activity_id} {info.attempt} {os.getpid()}"
    _append(f"S {name}\n")
    await asyncio.sleep(random.uniform(shortest_s, longest_s))
    _append(f"E {name}\n")


def _append(line: str) -> None:
    # One write of a short line to a file that is opened for appending: whole, whoever else writes.
    file = os.open(os.environ[EVIDENCE], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)
