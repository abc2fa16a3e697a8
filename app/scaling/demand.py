"""Demand: what one task queue needs now, read from Temporal for all pools at once.

Two sources that fail apart from each other: worker heartbeats (one ListWorkers for the namespace: slots in use, tasks
processed) and the server's statistics (a DescribeTaskQueue per queue and type: backlog, its age, rates). What could not
be read is None, never 0, and `problem` says why. Rejected: counting pollers (they linger 5 minutes), the server's rates
alone (eager and sticky work reads 0), heartbeats of any age (a killed worker's last one says RUNNING for 5 minutes).
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from temporalio.api.enums.v1 import TaskQueueType, WorkerStatus
from temporalio.api.taskqueue.v1 import TaskQueue, TaskQueueStats
from temporalio.api.worker.v1 import WorkerHeartbeat, WorkerSlotsInfo
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest, ListWorkersRequest, ListWorkersResponse
from temporalio.client import Client
from temporalio.service import RPCError

T = TypeVar("T")
_Stats = Mapping[tuple[str, str], TaskQueueStats | str]
RUNNING = WorkerStatus.WORKER_STATUS_RUNNING
STALE_AFTER_S = 6.0  # a heartbeat older than this, or than three intervals, is that of a worker that is gone
DESCRIBES_AT_ONCE = 8  # the first touch of a queue loads its partitions; not those of a whole fleet in one moment
PAGE_SIZE = 500


@dataclass(frozen=True)
class QueueTypes:
    """A task queue to observe and the task types, "workflow" or "activity", that its workers serve."""

    task_queue: str
    task_types: tuple[str, ...]
    slots_per_replica: int = 0
    """Of workers that give out their slots themselves: their heartbeats tell which are in use, not which are free."""


@dataclass(frozen=True)
class TypeDemand:
    """One task type of a queue; None is unknown. Slots and tasks are those of workers that do not drain."""

    task_type: str
    backlog: int | None = None
    backlog_age_s: float | None = None
    add_rate: float | None = None
    dispatch_rate: float | None = None
    rate_limited: bool = False
    used_slots: int | None = None
    total_slots: int | None = None
    processed_per_s: float | None = None


@dataclass(frozen=True)
class WorkerLoad:
    """One worker process (its identity is the pod's name), all task types together."""

    identity: str
    used_slots: int
    total_slots: int
    draining: bool
    heartbeat_age_s: float


@dataclass(frozen=True)
class Demand:
    """Demand of one task queue at `observed_at` (monotonic seconds)."""

    task_queue: str
    types: tuple[TypeDemand, ...]
    workers: tuple[WorkerLoad, ...]
    observed_at: float
    problem: str = ""

    @property
    def known(self) -> Literal["Full", "Partial", "None"]:
        """Whether backlog and slots of every type could be read, or some of that, or nothing."""
        read = [value is not None for t in self.types for value in (t.backlog, t.used_slots)]
        return "Full" if all(read) else "Partial" if any(read) else "None"

    @property
    def running(self) -> tuple[WorkerLoad, ...]:
        """Workers at work, those that drain left out."""
        return tuple(w for w in self.workers if not w.draining)

    @property
    def calm(self) -> bool:
        """All is known, and nothing waits, runs or was added in the last 30 s."""
        quiet = all(t.backlog == 0 and t.used_slots == 0 and t.add_rate == 0 for t in self.types)
        return quiet and not any(w.used_slots for w in self.workers)


async def observe(
    client: Client,
    queues: Sequence[QueueTypes],
    *,
    timeout_s: float,
    heartbeat_interval_s: float,
    need_stats: Callable[[str], bool] = lambda _: True,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, Demand]:
    """Demand by task queue, within `timeout_s`. Queues that `need_stats` rejects are read from heartbeats alone."""
    gate = asyncio.Semaphore(DESCRIBES_AT_ONCE)
    asked = [(q.task_queue, kind) for q in queues if need_stats(q.task_queue) for kind in q.task_types]
    heartbeats, answers = await asyncio.gather(
        _attempt(_list_workers(client), "ListWorkers", timeout_s),
        asyncio.gather(*(_attempt(_describe(client, gate, *one), "DescribeTaskQueue", timeout_s) for one in asked)),
    )
    if not isinstance(heartbeats, str):
        heartbeats = [h for h in heartbeats if _age_s(h) <= max(3 * heartbeat_interval_s, STALE_AFTER_S)]
    stats, at = dict(zip(asked, answers, strict=True)), clock()
    return {q.task_queue: _demand(q, heartbeats, stats, at) for q in queues}


async def _attempt(call: Awaitable[T], name: str, timeout_s: float) -> T | str:
    """The answer, or in a string what went wrong. Waiting for a turn and for the connection counts as well."""
    try:
        return await asyncio.wait_for(call, timeout_s)
    except (TimeoutError, RPCError, RuntimeError) as error:  # the last when a lazy client cannot connect
        return f"{name}: {str(error) or f'no answer within {timeout_s:g} s'}"


async def _list_workers(client: Client) -> list[WorkerHeartbeat]:
    found: list[WorkerHeartbeat] = []
    request = ListWorkersRequest(namespace=client.namespace, page_size=PAGE_SIZE)
    while True:
        page = await client.workflow_service.list_workers(request, retry=False)
        found.extend(_heartbeats(page))
        if not page.next_page_token:
            return found
        request.next_page_token = page.next_page_token


def _heartbeats(page: ListWorkersResponse) -> Iterable[WorkerHeartbeat]:
    # The field is marked deprecated, but `workers` has no slots. Left empty one day, it must not read as no workers.
    if page.workers and not page.workers_info:
        raise RuntimeError("the server lists workers without their slots")
    return (info.worker_heartbeat for info in page.workers_info)


async def _describe(client: Client, gate: asyncio.Semaphore, task_queue: str, kind: str) -> TaskQueueStats:
    request = DescribeTaskQueueRequest(
        namespace=client.namespace,
        task_queue=TaskQueue(name=task_queue),
        task_queue_type=TaskQueueType.Value(f"TASK_QUEUE_TYPE_{kind.upper()}"),
        report_stats=True,
    )
    async with gate:
        answer = await client.workflow_service.describe_task_queue(request, retry=False)
    if not answer.HasField("stats"):
        raise RuntimeError("the server has no statistics")
    return answer.stats


def _demand(queue: QueueTypes, heartbeats: list[WorkerHeartbeat] | str, stats: _Stats, at: float) -> Demand:
    mine = None if isinstance(heartbeats, str) else [h for h in heartbeats if h.task_queue == queue.task_queue]
    answers = {kind: stats.get((queue.task_queue, kind)) for kind in queue.task_types}
    problems = dict.fromkeys(p for p in (heartbeats, *answers.values()) if isinstance(p, str))
    types = tuple(_type_demand(queue, kind, mine, answer) for kind, answer in answers.items())
    return Demand(queue.task_queue, types, _loads(queue, mine or []), at, "; ".join(problems))


def _slots(heartbeat: WorkerHeartbeat, kind: str) -> WorkerSlotsInfo:
    slots: WorkerSlotsInfo = getattr(heartbeat, f"{kind}_task_slots_info")
    return slots


def _total(slots: WorkerSlotsInfo, queue: QueueTypes) -> int:
    if slots.slot_supplier_kind == "Custom":
        return max(slots.current_used_slots, queue.slots_per_replica)
    return slots.current_used_slots + slots.current_available_slots


def _type_demand(
    queue: QueueTypes, kind: str, mine: list[WorkerHeartbeat] | None, answer: TaskQueueStats | str | None
) -> TypeDemand:
    stats = None if isinstance(answer, str) else answer
    running = [h for h in mine or () if h.status == RUNNING]
    slots = [_slots(h, kind) for h in running]
    used = sum(s.current_used_slots for s in slots)
    # A first heartbeat has no interval yet; the slots of four workers over the tasks of three is no service time.
    spans_s = [h.elapsed_since_last_heartbeat.ToMilliseconds() / 1000 for h in running]
    rates = [s.last_interval_processed_tasks / span_s for s, span_s in zip(slots, spans_s, strict=True) if span_s > 0]
    return TypeDemand(
        kind,
        backlog=stats.approximate_backlog_count if stats else None,
        backlog_age_s=stats.approximate_backlog_age.ToMilliseconds() / 1000 if stats else None,
        add_rate=stats.tasks_add_rate if stats else None,
        dispatch_rate=stats.tasks_dispatch_rate if stats else None,
        rate_limited=stats.rate_limiting_active if stats else False,
        used_slots=None if mine is None else used,
        total_slots=None if mine is None else sum(_total(s, queue) for s in slots),
        processed_per_s=sum(rates) if running and len(rates) == len(running) else None,
    )


def _loads(queue: QueueTypes, mine: list[WorkerHeartbeat]) -> tuple[WorkerLoad, ...]:
    loads, processes = [], defaultdict[str, list[WorkerHeartbeat]](list)
    for heartbeat in mine:
        processes[heartbeat.worker_identity].append(heartbeat)
    for identity, every in processes.items():
        # A container restarted within its pod leaves a last heartbeat of its former self under the same identity.
        running = [h for h in every if h.status == RUNNING]
        slots = [_slots(h, kind) for h in running or every for kind in queue.task_types]
        used, total = sum(s.current_used_slots for s in slots), sum(_total(s, queue) for s in slots)
        loads.append(WorkerLoad(identity, used, total, not running, min(map(_age_s, every))))
    return tuple(loads)


def _age_s(heartbeat: WorkerHeartbeat) -> float:
    return max(0.0, time.time() - heartbeat.heartbeat_time.ToMilliseconds() / 1000)
