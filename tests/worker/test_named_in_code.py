"""Which queues a workflow's code calls, as the manifest tells the chart."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from app.worker.named_in_code import callers
from app.worker.registry import Handler, Registry
from app.worker.workflows.base import BaseWorkflow
from tests.worker import named_activities
from tests.worker.named_activities import Charges, charge, charges, refund


class ByFunction(BaseWorkflow[int, int]):
    async def run(self, input: int) -> int:
        return await self.execute_activity(charge, input)


class InAModule(BaseWorkflow[int, int]):
    async def run(self, input: int) -> int:
        return await self.execute_activity(named_activities.charge, input)


class ByName(BaseWorkflow[int, int]):
    async def run(self, input: int) -> int:
        return int(await self.execute_activity("charge", input))


class OfAnObject(BaseWorkflow[int, int]):
    async def run(self, input: int) -> int:
        return await self.execute_activity(charges.collect, input)


class OfAClass(BaseWorkflow[int, int]):
    async def run(self, input: int) -> int:
        return await self.execute_activity_method(Charges.collect, input)


class InANestedFunction(BaseWorkflow[int, int]):
    async def run(self, input: int) -> int:
        async def later() -> list[int]:
            return await asyncio.gather(*(self.execute_activity(charge, n) for n in range(input)))

        return sum(await later())


class InAnotherMethod(BaseWorkflow[int, int]):
    async def run(self, input: int) -> int:
        return await self.step(input)

    async def step(self, input: int) -> int:
        return await self.execute_activity(charge, input)


class Inherited(InAnotherMethod):
    """Calls what its base calls."""


class NothingThere(BaseWorkflow[int, int]):
    async def run(self, input: int) -> int:
        return await self.execute_activity(refund, input)


def queues_of(workflow: type) -> dict[str, tuple[str, ...]]:
    registry = Registry()
    for kind, name, queue, target in (
        ("workflow", workflow.__name__, "orders", workflow),
        ("activity", "refund", "orders", refund),
        ("activity", "charge", "payments", charge),
        ("activity", "collect", "payments", charges.collect),
        ("activity", "letter", "mail", print),
    ):
        registry.add(_handler(kind, name, queue, target))
    return dict(callers(registry))


def _handler(kind: Any, name: str, queue: str, target: Callable[..., Any]) -> Handler:
    return Handler(kind, name, queue, target, target.__module__, target.__qualname__, "here:1")


@pytest.mark.parametrize(
    "workflow",
    [ByFunction, InAModule, ByName, OfAnObject, OfAClass, InANestedFunction, InAnotherMethod, Inherited],
)
def test_a_queue_knows_whose_workflows_call_it(workflow: type) -> None:
    assert queues_of(workflow) == {"mail": (), "orders": (), "payments": ("orders",)}


def test_a_queue_does_not_wake_with_itself() -> None:
    assert queues_of(NothingThere) == {"mail": (), "orders": (), "payments": ()}
