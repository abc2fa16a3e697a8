"""Workflow code that fails its task for ever, until a right worker comes: it must be seen at once."""

from __future__ import annotations

from app.worker.registry import workflow_defn
from app.worker.workflows.base import BaseWorkflow


@workflow_defn(queue="stuck")
class Spins(BaseWorkflow[None, None]):
    async def run(self, input: None) -> None:
        self._count()

    def _count(self) -> None:
        while True:
            pass  # here Spins fails


@workflow_defn(queue="stuck")
class Opens(BaseWorkflow[str, str]):
    async def run(self, input: str) -> str:
        return _read(input)


def _read(path: str) -> str:
    with open(path) as file:  # here Opens fails
        return file.read()


@workflow_defn(queue="stuck")
class Slips(BaseWorkflow[str, str]):
    async def run(self, input: str) -> str:
        known: dict[str, str] = {}
        return known[input]  # here Slips fails
