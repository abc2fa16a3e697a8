"""Temporal's half of the runs that a worker keeps in memory: the queue that their tasks come by, and its end.

Temporal gives the tasks of such a run to this worker alone until it hears that the worker has gone. Then it unloads the
sticky queue: the open polls come home empty, and the next task of each run goes to all workers. The SDK tells it when
it has begun to cut polls, so a task that is matched in that moment is lost for its timeout (10 s). Told before, while
core still listens, no task is lost; but one that waits in the queue unmatched waits on for its timeout, unless somebody
polls once more (server 1.32, ShutdownWorker: ForceUnloadTaskQueuePartition).

Core makes the queue's name and tells nobody; the histories of the runs say it.
"""

from __future__ import annotations

import logging
import random
from typing import Any

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import TaskQueueKind
from temporalio.api.workflowservice.v1 import GetWorkflowExecutionHistoryReverseRequest, ShutdownWorkerRequest
from temporalio.client import Client
from temporalio.service import RPCError
from temporalio.worker import Worker

log = logging.getLogger("app.worker.sticky_queue")

RUNS_LOOKED_AT = 5
"""At a time, any: a run that has had one workflow task here says nothing yet, one of a few busy ones does."""
_EVENTS = 20


class StickyQueue:
    """The sticky queue of `worker`."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._name: str | None = None

    @property
    def kept(self) -> bool:
        """Whether the worker has runs in memory."""
        return bool(self._runs())

    async def find(self) -> bool:
        """Whether its name is known: not before a run that is kept has had a task by it."""
        kept = self._runs()
        for run_id, run in random.sample(kept, min(RUNS_LOOKED_AT, len(kept))):
            try:
                self._name = await _of_run(self._worker.client, run.workflow_id, run_id)
            except RPCError as error:
                log.debug("the history of %s is not to be had: %s", run.workflow_id, error)
            if self._name:
                return True
        return False

    def _runs(self) -> list[tuple[str, Any]]:
        workflows = self._worker._workflow_worker
        return list(workflows._running_workflows.items()) if workflows else []

    async def unload(self) -> bool:
        """Tell Temporal that nobody works on it any more; whether it has heard. `find` has found it."""
        client = self._worker.client
        # Without the worker's key, so that no other poll ends (frontend.enableCancelWorkerPollsOnShutdown).
        request = ShutdownWorkerRequest(
            namespace=client.namespace,
            identity=client.identity,
            sticky_task_queue=self._name or "",
            reason="graceful shutdown",
        )
        try:
            await client.workflow_service.shutdown_worker(request)
        except RPCError as error:
            log.debug("the sticky queue %s is not unloaded: %s", self._name, error)
            return False
        return True


async def _of_run(client: Client, workflow_id: str, run_id: str) -> str | None:
    request = GetWorkflowExecutionHistoryReverseRequest(
        namespace=client.namespace,
        execution=WorkflowExecution(workflow_id=workflow_id, run_id=run_id),
        maximum_page_size=_EVENTS,
    )
    answer = await client.workflow_service.get_workflow_execution_history_reverse(request)
    for event in answer.history.events:
        if event.HasField("workflow_task_scheduled_event_attributes"):
            # The run may have been another worker's before; core's name is the identity and 32 digits.
            queue = event.workflow_task_scheduled_event_attributes.task_queue
            sticky = queue.kind == TaskQueueKind.TASK_QUEUE_KIND_STICKY
            return queue.name if sticky and queue.name.rpartition("-")[0] == client.identity else None
    return None
