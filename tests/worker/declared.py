"""Classes for the decorator matrix: Temporal's SDK refuses workflows that are local to a test."""

from __future__ import annotations

from collections.abc import Sequence

from temporalio import workflow
from temporalio.common import RawValue, VersioningBehavior
from temporalio.exceptions import ApplicationError

from app.worker.workflows.base import BaseWorkflow


class Plain(BaseWorkflow[int, int]):
    async def run(self, input: int) -> int:
        return input


class PlainWithOptions(BaseWorkflow[int, int]):
    async def run(self, input: int) -> int:
        return input


class Bare:
    """Without BaseWorkflow: the SDK's own way."""

    @workflow.run
    async def run(self, input: int) -> int:
        return input


@workflow.defn
class Stacked(BaseWorkflow[int, int]):
    @workflow.run
    async def run(self, input: int) -> int:
        return input


@workflow.defn(
    name="Named",
    versioning_behavior=VersioningBehavior.PINNED,
    sandboxed=False,
    failure_exception_types=[ApplicationError],
)
class StackedWithOptions(BaseWorkflow[int, int]):
    async def run(self, input: int) -> int:
        return input


@workflow.defn(dynamic=True)
class Dynamic:
    @workflow.run
    async def run(self, _args: Sequence[RawValue]) -> int:
        return 0
