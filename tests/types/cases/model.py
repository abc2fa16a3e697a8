# pyright: strict
"""What the cases talk of: one model, activities of every shape, and workflows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from temporalio import activity, workflow

from app.worker.registry import activity_defn, workflow_defn
from app.worker.workflows.base import BaseWorkflow

T = TypeVar("T")


@dataclass
class Order:
    number: int


@dataclass
class Receipt:
    text: str


@activity_defn(queue="types")
async def nothing() -> None: ...


@activity_defn(queue="types")
@activity.defn(name="charge")
async def charge(order: Order) -> Receipt:
    return Receipt(str(order.number))


@activity_defn(queue="types")
def weigh(order: Order) -> float:
    return float(order.number)


@activity_defn(queue="types")
async def pack(order: Order, boxes: int) -> Receipt:
    return Receipt(f"{order.number} in {boxes}")


@activity_defn(queue="types")
def send(order: Order, address: str | None, express: bool = False) -> bytes:
    return f"{order.number} {address} {express}".encode()


class Shop:
    async def pay(self, order: Order) -> Receipt:
        return Receipt(str(order.number))

    def close(self) -> int:
        return 0


@workflow_defn(queue="types")
@workflow.defn
class Ship(BaseWorkflow[Order, Receipt]):
    async def run(self, input: Order) -> Receipt:
        return await self.execute_activity(charge, input)

    @workflow.signal
    def hurry(self) -> None: ...

    @workflow.signal
    async def move(self, address: str, floor: int) -> None: ...

    @workflow.update
    async def rate(self, stars: int) -> str:
        return "*" * stars

    @workflow.update
    def reset(self) -> Receipt:
        return Receipt("")

    @workflow.query
    def place(self) -> str:
        return ""


class Listed(BaseWorkflow[list[T], int], Generic[T]):
    async def run(self, input: list[T]) -> int:
        return len(input)


@workflow_defn(queue="types")
class Names(Listed[str]): ...
