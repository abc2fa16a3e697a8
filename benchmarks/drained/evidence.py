"""What became of every activity: the lines that bodies appended, held against Temporal's histories."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

from temporalio.api.enums.v1 import TimeoutType
from temporalio.client import Client

Key = tuple[str, str]
"""Workflow id and activity id."""


class Bodies:
    """The evidence file; `look` reads what is new in it."""

    def __init__(self, path: Path) -> None:
        path.touch()
        self._file = path.open()
        self._rest = ""
        self.started: defaultdict[Key, Counter[int]] = defaultdict(Counter)
        """Activity -> attempt -> bodies that began with it."""
        self.at_work: Counter[int] = Counter()
        """Process -> bodies that began and have not ended."""
        self.seen: set[int] = set()
        """Processes that a body began in."""

    def look(self) -> None:
        """Read on."""
        *lines, self._rest = (self._rest + self._file.read()).split("\n")
        for line in lines:
            kind, workflow_id, activity_id, attempt, pid = line.split()
            self.at_work[int(pid)] += 1 if kind == "S" else -1
            if kind == "S":
                self.started[workflow_id, activity_id][int(attempt)] += 1
                self.seen.add(int(pid))


async def verdict(client: Client, workflow_ids: Iterable[str], bodies: Bodies) -> dict[str, int]:
    """Of runs that have ended: activities, dispatches that ran nowhere, bodies that ran again."""
    bodies.look()
    found = Counter[str](activities=0, orphaned_activities=0, orphaned_workflow_tasks=0, sticky_waits=0)
    for workflow_id in workflow_ids:
        scheduled: dict[int, str] = {}
        async for event in client.get_workflow_handle(workflow_id).fetch_history_events():
            if event.HasField("activity_task_scheduled_event_attributes"):
                scheduled[event.event_id] = event.activity_task_scheduled_event_attributes.activity_id
            elif event.HasField("activity_task_started_event_attributes"):
                started = event.activity_task_started_event_attributes
                tries = bodies.started[workflow_id, scheduled[started.scheduled_event_id]]
                found["activities"] += 1
                found["orphaned_activities"] += sum(not tries[attempt] for attempt in range(1, started.attempt + 1))
            elif event.HasField("workflow_task_timed_out_event_attributes"):
                kind = event.workflow_task_timed_out_event_attributes.timeout_type
                begun = kind == TimeoutType.TIMEOUT_TYPE_START_TO_CLOSE
                found["orphaned_workflow_tasks" if begun else "sticky_waits"] += 1
    repeated = sum(tries.total() - 1 for tries in bodies.started.values() if tries.total() > 1)
    return {**found, "repeated_bodies": repeated}
