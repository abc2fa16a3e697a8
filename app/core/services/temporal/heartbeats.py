"""Who works on the task queues of a namespace, and how busy: what workers tell Temporal of themselves.

The API is young, and nothing else knows its shape. Rejected: counting pollers (they linger 5 minutes), the age of a
heartbeat by our clock (a worker's clock may be an hour off, and then it would look dead, or for ever alive: here one
that does not change any more is old).
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from temporalio.api.enums.v1 import WorkerStatus
from temporalio.api.worker.v1 import WorkerHeartbeat, WorkerSlotsInfo
from temporalio.api.workflowservice.v1 import ListWorkersRequest
from temporalio.client import Client

from app.core.services.temporal.asking import Asking

STALE_AFTER_S = 6.0  # a worker that has said nothing new for longer, and for three intervals, is gone
PAGE_SIZE = 500
RUNNING = WorkerStatus.WORKER_STATUS_RUNNING


@dataclass(frozen=True)
class Slots:
    """Slots of one task type in one worker. `free` is None where the worker gives them out itself."""

    used: int
    free: int | None
    processed_per_s: float | None
    """Tasks ended a second since the heartbeat before; None in a first one."""

    def total(self, per_replica: int) -> int:
        """All slots; `per_replica`: how many a worker has that gives them out itself."""
        return max(self.used, per_replica) if self.free is None else self.used + self.free


@dataclass(frozen=True)
class Heartbeat:
    """What one worker told of itself last; `running` is False while it drains. Slots by "workflow" and "activity"."""

    identity: str
    task_queue: str
    running: bool
    age_s: float
    slots: Mapping[str, Slots]

    def load(self, task_types: Sequence[str], per_replica: int) -> WorkerLoad:
        """It with its slots of these types together."""
        slots = [self.slots[kind] for kind in task_types]
        used, total = sum(s.used for s in slots), sum(s.total(per_replica) for s in slots)
        return WorkerLoad(self.identity, used, total, not self.running, self.age_s)


@dataclass(frozen=True)
class WorkerLoad:
    """One worker process (its identity is the pod's name), all task types together."""

    identity: str
    used_slots: int
    total_slots: int
    draining: bool
    heartbeat_age_s: float


class Heartbeats:
    """The workers of a namespace that live, from ListWorkers."""

    def __init__(self, asking: Asking, interval_s: float) -> None:
        """`interval_s`: how often workers tell their slots."""
        self._asking = asking
        self._stale_s = max(3 * interval_s, STALE_AFTER_S)
        self._told: dict[str, tuple[int, float]] = {}

    async def read(self, client: Client) -> dict[str, list[Heartbeat]] | str:
        """Those that have told something new of late, one for each process, by task queue; or why they are unknown."""
        found = await self._asking.attempt(self._list(client), "ListWorkers")
        if isinstance(found, str):
            return found
        now, before = self._asking.clock(), self._told
        told = {h.worker_instance_key: h.heartbeat_time.ToNanoseconds() for h in found}
        self._told = {k: before[k] if k in before and before[k][0] == at else (at, now) for k, at in told.items()}
        processes = defaultdict[tuple[str, str], list[Heartbeat]](list)
        for heartbeat in found:
            age_s = now - self._told[heartbeat.worker_instance_key][1]
            if age_s <= self._stale_s:
                processes[heartbeat.worker_identity, heartbeat.task_queue].append(_heartbeat(heartbeat, age_s))
        queues = defaultdict[str, list[Heartbeat]](list)
        for (_, task_queue), every in processes.items():
            queues[task_queue].append(_together(every))
        return queues

    async def _list(self, client: Client) -> list[WorkerHeartbeat]:
        found: list[WorkerHeartbeat] = []
        request = ListWorkersRequest(namespace=client.namespace, page_size=PAGE_SIZE)
        while True:
            self._asking.owe()
            page = await client.workflow_service.list_workers(request, retry=False)
            # The field is marked deprecated, but `workers` has no slots. Left empty, it must not read as no workers.
            if page.workers and not page.workers_info:
                raise RuntimeError("the server lists workers without their slots")
            found.extend(info.worker_heartbeat for info in page.workers_info)
            if not page.next_page_token:
                return found
            request.next_page_token = page.next_page_token


def _heartbeat(told: WorkerHeartbeat, age_s: float) -> Heartbeat:
    span_s = told.elapsed_since_last_heartbeat.ToMilliseconds() / 1000
    kinds = {"workflow": told.workflow_task_slots_info, "activity": told.activity_task_slots_info}
    slots = {kind: _slots(info, span_s) for kind, info in kinds.items()}
    return Heartbeat(told.worker_identity, told.task_queue, told.status == RUNNING, age_s, slots)


def _together(every: Sequence[Heartbeat]) -> Heartbeat:
    # A container restarted within its pod leaves a last heartbeat of its former self under the same identity.
    those = [h for h in every if h.running] or every
    slots = {kind: functools.reduce(_add, (h.slots[kind] for h in those)) for kind in those[0].slots}
    return replace(those[0], age_s=min(h.age_s for h in every), slots=slots)


def _add(one: Slots, other: Slots) -> Slots:
    free = None if one.free is None or other.free is None else one.free + other.free
    rates = one.processed_per_s, other.processed_per_s
    return Slots(one.used + other.used, free, None if None in rates else sum(r or 0.0 for r in rates))


def _slots(info: WorkerSlotsInfo, span_s: float) -> Slots:
    free = None if info.slot_supplier_kind == "Custom" else info.current_available_slots
    return Slots(info.current_used_slots, free, info.last_interval_processed_tasks / span_s if span_s > 0 else None)
