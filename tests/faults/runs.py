"""Runs of tests/apps/faults: started, seen at work, ended within a bound."""

from __future__ import annotations

import asyncio
from typing import Any

from temporalio.client import Client

from tests.apps.faults import Rests
from tests.faults.evidence import Evidence
from tests.local.dev_fleet import until
from tests.worker.served import client, start

PATIENCE_S = 40.0


def at_work(address: str, evidence: Evidence, seconds: float, workflow: Any = Rests) -> str:
    """The id of a run whose activity is at work, and rests for `seconds`."""
    workflow_id = start(address, workflow, seconds)
    until(lambda: evidence.lines("start", workflow_id), 15, 0.02)
    return workflow_id


def outcome(address: str, workflow_id: str) -> Any:
    """The result of a run: the pid of the worker that ended its last activity. Raises TimeoutError."""

    async def wait(c: Client) -> Any:
        async with asyncio.timeout(PATIENCE_S):
            return await c.get_workflow_handle(workflow_id).result()

    with client(address) as call:
        return call(wait)


def works(address: str) -> int:
    """The pid of the worker that did a small run."""
    return int(outcome(address, start(address, Rests, 0.0)))


def once(evidence: Evidence, workflow_id: str) -> None:
    """Assert that the body ran once, to its end."""
    lines = evidence.lines(workflow_id=workflow_id)
    assert [(line.what, line.attempt) for line in lines] == [("start", 1), ("end", 1)]
