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
    """Tasks ended a second since it was read before, or if it was not of late, in its last interval; None: none yet.

    By its last interval alone, three slots with tasks of a second would end three tasks in one second or none.
    """

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
class _Told:
    """What a worker told last; `at`: when that was first seen here, in the seconds of our own clock."""

    heartbeat: Heartbeat
    at: float
    by_its_clock_ns: int
    processed: Mapping[str, int]
    """All tasks that ever ended."""


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
        self._told: dict[str, _Told] = {}

    async def read(self, client: Client) -> dict[str, list[Heartbeat]] | str:
        """Those that have told something new of late, one for each process, by task queue; or why they are unknown."""
        found = await self._asking.attempt(self._list(client), "ListWorkers")
        if isinstance(found, str):
            return found
        now = self._asking.clock()
        self._told = {h.worker_instance_key: self._tell(h, now) for h in found}
        processes = defaultdict[tuple[str, str], list[Heartbeat]](list)
        for told in self._told.values():
            if (age_s := now - told.at) <= self._stale_s:
                heartbeat = replace(told.heartbeat, age_s=age_s)
                processes[heartbeat.identity, heartbeat.task_queue].append(heartbeat)
        queues = defaultdict[str, list[Heartbeat]](list)
        for (_, task_queue), every in processes.items():
            queues[task_queue].append(_together(every))
        return queues

    def _tell(self, told: WorkerHeartbeat, now: float) -> _Told:
        before, at_ns = self._told.get(told.worker_instance_key), told.heartbeat_time.ToNanoseconds()
        if before and before.by_its_clock_ns == at_ns:
            return before
        kinds = {"workflow": told.workflow_task_slots_info, "activity": told.activity_task_slots_info}
        span_s = told.elapsed_since_last_heartbeat.ToMilliseconds() / 1000
        ended = {kind: info.last_interval_processed_tasks for kind, info in kinds.items()}
        processed = {kind: info.total_processed_tasks for kind, info in kinds.items()}
        # Its clock may have been set meanwhile; and of long ago nothing says when it was.
        if before and 0 < (since_s := (at_ns - before.by_its_clock_ns) / 1e9) <= self._stale_s + span_s:
            since = {kind: total - before.processed[kind] for kind, total in processed.items()}
            if min(since.values()) >= 0:  # the SDK counts in 32 bits
                span_s, ended = since_s, since
        slots = {kind: _slots(info, ended[kind] / span_s if span_s > 0 else None) for kind, info in kinds.items()}
        heartbeat = Heartbeat(told.worker_identity, told.task_queue, told.status == RUNNING, 0.0, slots)
        return _Told(heartbeat, now, at_ns, processed)

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


def _together(every: Sequence[Heartbeat]) -> Heartbeat:
    # A container restarted within its pod leaves a last heartbeat of its former self under the same identity.
    those = [h for h in every if h.running] or every
    slots = {kind: functools.reduce(_add, (h.slots[kind] for h in those)) for kind in those[0].slots}
    return replace(those[0], age_s=min(h.age_s for h in every), slots=slots)


def _add(one: Slots, other: Slots) -> Slots:
    free = None if one.free is None or other.free is None else one.free + other.free
    rates = one.processed_per_s, other.processed_per_s
    return Slots(one.used + other.used, free, None if None in rates else sum(r or 0.0 for r in rates))


def _slots(info: WorkerSlotsInfo, processed_per_s: float | None) -> Slots:
    free = None if info.slot_supplier_kind == "Custom" else info.current_available_slots
    return Slots(info.current_used_slots, free, processed_per_s)
