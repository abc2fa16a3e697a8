"""Queues of their own: once a build is current for a queue, workers without a version get no more work there."""

from __future__ import annotations

from app.worker.registry import workflow_defn
from app.worker.workflows.base import BaseWorkflow


@workflow_defn(queue="versioned")
class Greets(BaseWorkflow[str, str]):
    async def run(self, input: str) -> str:
        return f"hello {input}"


@workflow_defn(queue="versioned-back")
class GreetsBack(BaseWorkflow[str, str]):
    async def run(self, input: str) -> str:
        return f"hello {input}"
