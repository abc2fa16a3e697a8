from __future__ import annotations

from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy

from app.worker.registry import workflow_defn
from app.worker.workflows.base import BaseWorkflow
from tests.apps.leaving.activities import Job


@workflow_defn(queue="leaving")
class Leaves(BaseWorkflow[Job, Any]):
    """Runs one body; its attempts begin again a second after a failure, and no timeout helps before `close_s`."""

    async def run(self, input: Job) -> Any:
        return await workflow.execute_activity(
            input.body,
            input,
            start_to_close_timeout=timedelta(seconds=input.close_s),
            heartbeat_timeout=timedelta(seconds=input.heartbeat_s) if input.heartbeat_s else None,
            retry_policy=RetryPolicy(
                backoff_coefficient=1.0, maximum_attempts=input.attempts, non_retryable_error_types=["ValueError"]
            ),
        )
