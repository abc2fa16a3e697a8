"""What Temporal knows of the task queues of a namespace: who works, what waits, what was just started.

Each source is one small class, and what it could not read is a string that says why: the three fail apart from each
other. The heartbeats' API is young, and nothing but `Heartbeats` knows its shape. Rejected: counting pollers (they
linger 5 minutes), the age of a heartbeat by our clock (a worker's clock may be an hour off, and then it would look dead
or for ever alive: here one that does not change any more is old).
"""

from __future__ import annotations

import asyncio
import functools
import math
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.enums.v1 import TaskQueueType, WorkerStatus
from temporalio.api.taskqueue.v1 import TaskQueue, TaskQueueStats
from temporalio.api.worker.v1 import WorkerHeartbeat, WorkerSlotsInfo
from temporalio.api.workflow.v1 import WorkflowExecutionInfo
from temporalio.api.workflowservice.v1 import (
    DescribeTaskQueueRequest,
    ListWorkersRequest,
    ListWorkflowExecutionsRequest,
)
from temporalio.client import Client
from temporalio.service import RPCError

T = TypeVar("T")
STALE_AFTER_S = 6.0  # a worker that has said nothing new for longer, and for three intervals, is gone
AT_ONCE = 8  # the first touch of a queue loads its partitions; not those of a whole fleet in one moment
AGAIN_S = 5.0  # what failed is asked again
SAVED_S = 3.0  # unused calls are kept for so long
STARTS_EVERY_S, STARTS_SELDOM_S = 1.0, 8.0  # a frontend allows 10 calls to visibility a second, to all who ask
STARTS_GAP_S = 20.0  # after a longer silence, what was started is no news
STARTS_PAGE, STARTS_PAGES = 1000, 3
NOBODY = "''"
OVERLAP_NS = 30_000_000_000  # rows have been seen 0.9 s after younger ones, on PostgreSQL
OWN_CLOCK_NS = 60_000_000_000  # so far apart may the server's clock and ours be
START_DELAY_NS = 2_000_000_000
JITTER = 0.15  # of an interval: queues that were asked together do not stay together
PAGE_SIZE = 500
RUNNING = WorkerStatus.WORKER_STATUS_RUNNING


@dataclass
class Asking:
    """How to ask: at most `per_s` calls a second over a few seconds, and none for longer than `timeout_s`.

    What must be asked may run up a debt; the rest then waits.
    """

    per_s: float = 10.0
    timeout_s: float = 2.0
    clock: Callable[[], float] = time.monotonic
    _left: float = field(init=False, default=0.0)
    _at: float = field(init=False, default=-math.inf)

    def owe(self, calls: int = 1) -> None:
        """Take `calls`, whether they are there or not."""
        now = self.clock()
        self._left = min(self.per_s * SAVED_S, self._left + (now - self._at) * self.per_s) - calls
        self._at = now

    def take(self) -> bool:
        """Take one call if there is one."""
        self.owe(0)
        if self._left < 1:
            return False
        self._left -= 1
        return True

    async def attempt(self, call: Awaitable[T], name: str) -> T | str:
        """The answer, or in a string what went wrong. Waiting for a turn and for the connection counts as well."""
        try:
            return await asyncio.wait_for(call, self.timeout_s)
        except (TimeoutError, RPCError, RuntimeError) as error:  # the last when a lazy client cannot connect
            return f"{name}: {str(error) or f'no answer within {self.timeout_s:g} s'}"


@dataclass(frozen=True)
class Slots:
    """Slots of one task type in one worker. `free` is None where the worker gives them out itself."""

    used: int
    free: int | None
    processed_per_s: float | None
    """Tasks ended a second since the heartbeat before; None in a first one."""


@dataclass(frozen=True)
class Heartbeat:
    """What one worker told of itself last; `running` is False while it drains. Slots by "workflow" and "activity"."""

    identity: str
    task_queue: str
    running: bool
    age_s: float
    slots: Mapping[str, Slots]


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


class Want(NamedTuple):
    """Statistics that are wanted: one task type of a queue, not older than `every_s`. Lower ranks are asked first."""

    rank: int
    task_queue: str
    task_type: str
    every_s: float


class Answer(NamedTuple):
    """The statistics of one task type of a queue, or why they could not be read; `at` in the clock's seconds."""

    at: float
    stats: TaskQueueStats | str


class Statistics:
    """Backlogs and rates, a DescribeTaskQueue per queue and type. The last answers are kept."""

    def __init__(self, asking: Asking) -> None:
        self.answers: dict[tuple[str, str], Answer] = {}
        self._asking = asking

    async def refresh(self, client: Client, wanted: Sequence[Want]) -> set[str]:
        """Ask for what is too old, as far as the budget goes; in a rank first for what has waited longest.

        The task queues that were asked for.
        """
        now, gate = self._asking.clock(), asyncio.Semaphore(AT_ONCE)
        self.answers = {w[1:3]: self.answers[w[1:3]] for w in wanted if w[1:3] in self.answers}
        due = sorted((w.rank, self._due_at(w), *w[1:3]) for w in wanted)
        asked = [(queue, kind) for _, at, queue, kind in due if at <= now and self._asking.take()]
        calls = (self._asking.attempt(_describe(client, gate, *one), "DescribeTaskQueue") for one in asked)
        for one, stats in zip(asked, await asyncio.gather(*calls), strict=True):
            self.answers[one] = Answer(now, stats)
        return {queue for queue, _ in asked}

    def _due_at(self, want: Want) -> float:
        if (last := self.answers.get(want[1:3])) is None:
            return -math.inf
        every_s = min(want.every_s, AGAIN_S) if isinstance(last.stats, str) else want.every_s
        # By chance, but the same until it is asked: each look would else draw anew until it is let through.
        return last.at + every_s * (1 + JITTER * (hash((want[1:3], last.at)) % 997) / 997)


class Starts:
    """Workflows that were started, by anyone, as visibility shows them: milliseconds later, and not always in order."""

    def __init__(self, asking: Asking) -> None:
        self.every_s = STARTS_EVERY_S
        """How often to ask; longer while Temporal does not answer."""
        self._asking = asking
        self._asked: frozenset[str] = frozenset()
        self._asked_at = -math.inf
        self._since_ns = time.time_ns() - OWN_CLOCK_NS
        self._seen: set[str] = set()

    async def read(self, client: Client, task_queues: Collection[str]) -> set[str] | str:
        """Those of `task_queues` on which one was started since the last call that named them too."""
        new = await self._asking.attempt(self._read(client, frozenset(task_queues)), "ListWorkflowExecutions")
        self.every_s = min(2 * self.every_s, STARTS_SELDOM_S) if isinstance(new, str) else STARTS_EVERY_S
        return new

    async def _read(self, client: Client, task_queues: frozenset[str]) -> set[str]:
        now = self._asking.clock()
        # What was started on a queue before anybody asked for it is the statistics' to see.
        known = self._asked if now - self._asked_at <= STARTS_GAP_S else frozenset()
        found = await self._list(client, task_queues)
        new = {e.task_queue for e in found if e.execution.run_id not in self._seen and _is_due(e)}
        self._seen = {e.execution.run_id for e in found}
        # By the server's clock; but one of its hosts whose clock is wrong must not blind us to all others.
        latest_ns = time.time_ns() + OWN_CLOCK_NS
        starts_ns = (e.start_time.ToNanoseconds() for e in found)
        newest_ns = max((ns for ns in starts_ns if ns < latest_ns), default=0)
        self._since_ns = max(self._since_ns, newest_ns - OVERLAP_NS)
        self._asked, self._asked_at = task_queues, now
        return new & known

    async def _list(self, client: Client, task_queues: Collection[str]) -> list[WorkflowExecutionInfo]:
        since = Timestamp()
        since.FromNanoseconds(self._since_ns)
        # No quoting makes the server find names with these two; the statistics see them all the same.
        plain = sorted(name for name in task_queues if not set(name) & set('\\"'))
        names = ", ".join("'" + name.replace("'", "''") + "'" for name in plain)
        # SQL stores have an index by ExecutionTime, which is never before StartTime: 3 ms with it, 100 without, of
        # 100,000 runs.
        after = f"ExecutionTime > '{since.ToJsonString()}' AND StartTime > '{since.ToJsonString()}'"
        request = ListWorkflowExecutionsRequest(
            namespace=client.namespace, page_size=STARTS_PAGE, query=f"{after} AND TaskQueue IN ({names or NOBODY})"
        )
        found: list[WorkflowExecutionInfo] = []
        for _ in range(STARTS_PAGES):
            self._asking.owe()
            page = await client.workflow_service.list_workflow_executions(request, retry=False)
            found.extend(page.executions)
            request.next_page_token = page.next_page_token
            if not page.next_page_token:
                break
        return found


def _is_due(started: WorkflowExecutionInfo) -> bool:
    """Its first task comes at once: not of a cron workflow, or one with a start delay."""
    return started.execution_time.ToNanoseconds() - started.start_time.ToNanoseconds() <= START_DELAY_NS


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
