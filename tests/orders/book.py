"""What really happened to orders: the ledger's append-only starts against Temporal's histories."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import create_engine, inspect, select
from sqlalchemy.orm import Session
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from app.worker.activities.ledger import BodyStart


@dataclass(frozen=True)
class Outcome:
    """Sums over some workflows."""

    completed: int
    not_completed: list[str]
    """Open, failed, or unknown to Temporal."""
    scheduled: int
    """Activities in the histories."""
    bodies: int
    """Activity bodies that were started, by the ledger."""
    repeated: list[str]
    """Activities whose body was started more than once."""
    retried: list[str]
    """Bodies that ran as a later attempt, and why: an earlier one was lost, or failed."""
    orphaned: list[str]
    """Attempts that Temporal has handed out and no body was started for: lost on their way to a worker that left."""


async def outcome(address: str, ledger: str, workflow_ids: Iterable[str]) -> Outcome:
    """Read histories and ledger (an SQLAlchemy URL) of `workflow_ids`."""
    client = await Client.connect(address)
    ids = list(workflow_ids)
    gate = asyncio.Semaphore(20)

    causes: dict[tuple[str, str], str] = {}

    async def look(workflow_id: str) -> tuple[str, bool, int]:
        async with gate:
            handle = client.get_workflow_handle(workflow_id)
            try:
                described = await handle.describe()
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND:
                    raise
                return workflow_id, False, 0
            history = await handle.fetch_history()
        scheduled = [e for e in history.events if e.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED]
        names = {e.event_id: e.activity_task_scheduled_event_attributes.activity_id for e in scheduled}
        for event in history.events:
            if (started := event.activity_task_started_event_attributes).HasField("last_failure"):
                causes[workflow_id, names[started.scheduled_event_id]] = started.last_failure.message
        return workflow_id, described.status == WorkflowExecutionStatus.COMPLETED, len(scheduled)

    seen = await asyncio.gather(*map(look, ids))
    engine = create_engine(ledger)
    starts = list[BodyStart]()
    if inspect(engine).has_table(BodyStart.__tablename__):  # made by the first body that starts
        with Session(engine) as session:
            starts = [row for row in session.scalars(select(BodyStart)) if row.workflow_id in set(ids)]
    attempts: dict[tuple[str, str], list[int]] = {}
    for row in starts:
        attempts.setdefault((row.workflow_id, row.activity_id), []).append(row.attempt)
    return Outcome(
        completed=sum(done for _, done, _ in seen),
        not_completed=[workflow_id for workflow_id, done, _ in seen if not done],
        scheduled=sum(scheduled for _, _, scheduled in seen),
        bodies=len(starts),
        repeated=[f"{key}: {len(made)} starts" for key, made in attempts.items() if len(made) > 1],
        retried=[
            f"{row.workflow_id} {row.activity} attempt {row.attempt} on {row.worker}: "
            f"{causes.get((row.workflow_id, row.activity_id))}"
            for row in starts
            if row.attempt > 1
        ],
        orphaned=[
            f"{key} attempt {attempt}: {causes.get(key)}"
            for key, made in attempts.items()
            for attempt in range(1, max(made))
            if attempt not in made
        ],
    )
