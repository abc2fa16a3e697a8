"""Letters take their time and beat meanwhile; a mishap at the first try is what takes a worker's process away."""

from __future__ import annotations

import asyncio
import socket
import time
from dataclasses import dataclass
from datetime import timedelta

from temporalio import activity

from app.worker.activities import ledger
from app.worker.registry import activity_defn, workflow_defn
from app.worker.workflows.base import BaseWorkflow

HEARTBEAT_TIMEOUT_S = 10.0
START_TO_CLOSE_S = 300.0
_BEAT_S = 0.5
_LATER_S = 3.0
_CHUNK = 16 * 2**20


@dataclass(frozen=True)
class Letter:
    """`seconds` and `mishap` are of the first try; a later one is short and meets no mishap.

    `mishap`: "memory" takes more than there is, "block" stops the event loop; empty: none.
    """

    seconds: float
    mishap: str = ""


@activity_defn(queue="mails")
async def write_letter(letter: Letter) -> str:
    """The host that wrote it."""
    await ledger.started()
    taken = []
    seconds, mishap = (letter.seconds, letter.mishap) if activity.info().attempt == 1 else (_LATER_S, "")
    for _ in range(int(seconds / _BEAT_S)):
        activity.heartbeat()
        await asyncio.sleep(_BEAT_S)
        if mishap == "block":
            time.sleep(START_TO_CLOSE_S)  # noqa: ASYNC251 - the mishap
        while mishap == "memory":
            taken.append(b"x" * _CHUNK)
    return socket.gethostname()


@workflow_defn(queue="mails")
class LetterWorkflow(BaseWorkflow[Letter, str]):
    async def run(self, input: Letter) -> str:
        return await self.execute_activity(
            write_letter,
            input,
            start_to_close_timeout=timedelta(seconds=START_TO_CLOSE_S),
            heartbeat_timeout=timedelta(seconds=HEARTBEAT_TIMEOUT_S),
        )
