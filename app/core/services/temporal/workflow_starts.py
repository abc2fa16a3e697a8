"""Which task queues got workflows just now, as visibility shows them: the fast way to know that a sleeper has work.

One question for all sleepers, that names them: a busy namespace returns next to no rows. Rejected: asking for all that
started (thousands of rows a second), counting by task queue (servers group by status only).
"""

from __future__ import annotations

import math
import time
from collections.abc import Collection

from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.workflow.v1 import WorkflowExecutionInfo
from temporalio.api.workflowservice.v1 import ListWorkflowExecutionsRequest
from temporalio.client import Client

from app.core.services.temporal.asking import Asking

EVERY_S, SELDOM_S = 1.0, 8.0  # a frontend allows 10 calls to visibility a second, to all who ask
GAP_S = 20.0  # after a longer silence, what was started is no news
PAGE, PAGES = 1000, 3
NOBODY = "''"
OVERLAP_NS = 30_000_000_000  # rows have been seen 3 s after younger ones
OWN_CLOCK_NS = 60_000_000_000  # so far apart may the server's clock and ours be
START_DELAY_NS = 2_000_000_000


class Starts:
    """Workflows that were started, by anyone, as visibility shows them: milliseconds later, and not always in order."""

    def __init__(self, asking: Asking) -> None:
        self.every_s = EVERY_S
        """How often to ask; longer while Temporal does not answer."""
        self._asking = asking
        self._asked: frozenset[str] = frozenset()
        self._asked_at = -math.inf
        self._since_ns = time.time_ns() - OWN_CLOCK_NS
        self._seen: set[str] = set()

    async def read(self, client: Client, task_queues: Collection[str]) -> set[str] | str:
        """Those of `task_queues` on which one was started since the last call that named them too."""
        new = await self._asking.attempt(self._read(client, frozenset(task_queues)), "ListWorkflowExecutions")
        self.every_s = min(2 * self.every_s, SELDOM_S) if isinstance(new, str) else EVERY_S
        return new

    async def _read(self, client: Client, task_queues: frozenset[str]) -> set[str]:
        now = self._asking.clock()
        # What was started on a queue before anybody asked for it is the statistics' to see.
        known = self._asked if now - self._asked_at <= GAP_S else frozenset()
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
            namespace=client.namespace, page_size=PAGE, query=f"{after} AND TaskQueue IN ({names or NOBODY})"
        )
        found: list[WorkflowExecutionInfo] = []
        for _ in range(PAGES):
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
