"""A workflow whose module imports, through a neighbour, a library that the sandbox refuses."""

from __future__ import annotations

from app.worker.registry import workflow_defn
from app.worker.workflows.base import BaseWorkflow
from tests.apps.library_at_import import neighbour


@workflow_defn(queue="library")
class Fetches(BaseWorkflow[None, str]):
    async def run(self, input: None) -> str:
        return neighbour.NAME
