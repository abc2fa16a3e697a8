"""A workflow that says no in every way that a workflow can say something to its callers."""

from __future__ import annotations

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from app.worker.registry import workflow_defn
from app.worker.workflows.base import BaseWorkflow


@workflow_defn(queue="lab")
class Refuses(BaseWorkflow[str, None]):
    """Fails with its input as the reason, or waits for ever without one."""

    async def run(self, input: str) -> None:
        await workflow.wait_condition(lambda: bool(input))
        raise ApplicationError(input, non_retryable=True)

    @workflow.update
    async def rise(self, by: int) -> int:
        if by > 9:
            raise ApplicationError("no higher than 9")
        return by

    @rise.validator
    def check(self, by: int) -> None:
        if by < 0:
            raise ValueError("only upwards")

    @workflow.query
    def height(self) -> int:
        raise ValueError("not measured yet")
