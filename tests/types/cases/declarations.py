# pyright: strict
"""What the decorators make of what they stand over: nothing else. A line that must be an error ends with WRONG."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import assert_type

from temporalio.common import RetryPolicy, VersioningBehavior

from app.worker.registry import activity_defn, register, workflow_defn
from app.worker.workflows.base import BaseWorkflow
from tests.types.cases.model import Order, Receipt


@activity_defn(queue="types", name="charge", no_thread_cancel_exception=True)
def charge(order: Order, twice: bool = False) -> Receipt:
    return Receipt(f"{order.number} {twice}")


@activity_defn(queue="types")
async def pay(order: Order) -> Receipt:
    return Receipt(str(order.number))


@activity_defn(
    queue="types",
    start_to_close_timeout=timedelta(seconds=20),
    heartbeat_timeout=timedelta(seconds=5),
    retry_policy=RetryPolicy(maximum_attempts=3),
    on_drain="hand_over",
)
async def promised(order: Order) -> Receipt:
    return Receipt(str(order.number))


class Bank:
    def __init__(self, *, name: str) -> None:
        self.name = name

    @activity_defn(queue="types")
    async def transfer(self, order: Order) -> Receipt:
        return Receipt(f"{self.name} {order.number}")

    @staticmethod
    @activity_defn(queue="types")
    def rate(order: Order) -> float:
        return float(order.number)


@activity_defn(queue="types")
class Printer:
    def __call__(self, order: Order) -> bytes:
        return str(order.number).encode()


bank = register(Bank(name="paper"))
printer = register(Printer())
twice = activity_defn(queue="types", name="twice")(functools.partial(charge, twice=True))


@workflow_defn(queue="types", name="Order", sandboxed=False, versioning_behavior=VersioningBehavior.PINNED)
class OrderWorkflow(BaseWorkflow[Order, Receipt]):
    async def run(self, input: Order) -> Receipt:
        assert_type(await self.execute_activity(bank.transfer, input), Receipt)
        assert_type(await self.execute_activity_method(Bank.transfer, input), Receipt)
        assert_type(await self.execute_activity(bank.rate, input), float)
        assert_type(await self.execute_activity(Bank.rate, input), float)
        assert_type(await self.execute_activity(printer, input), bytes)
        await self.execute_activity(bank.transfer, 3)  # WRONG
        await self.execute_activity(printer, "order")  # WRONG
        return await self.execute_activity(pay, input)


async def called_as_it_is(order: Order) -> None:
    """A declared activity is the function that it was: a test calls it."""
    assert_type(charge(order, twice=True), Receipt)
    assert_type(await pay(order), Receipt)
    assert_type(await promised(order), Receipt)
    assert_type(await bank.transfer(order), Receipt)
    assert_type(Bank.rate(order), float)
    assert_type(printer(order), bytes)
    assert_type(bank, Bank)
    assert_type(twice, functools.partial[Receipt])
    assert_type(OrderWorkflow(), OrderWorkflow)
    same: Callable[[Order], Awaitable[Receipt]] = pay
    await same(order)
    charge("order")  # WRONG
    await pay(order, 2)  # WRONG
    await bank.transfer("order")  # WRONG


def _plain(order: Order) -> None: ...


class Plain(BaseWorkflow[Order, None]): ...


activity_defn(queue="types")(_plain)
activity_defn()(_plain)  # WRONG
activity_defn(_plain)  # WRONG
activity_defn(queue="types", nmae="plain")(_plain)  # WRONG
activity_defn(queue="types", name=3)(_plain)  # WRONG
activity_defn(queue="types", dynamic=True)(_plain)  # WRONG
activity_defn(queue=3)(_plain)  # WRONG
activity_defn(queue="types", on_drain="finish", start_to_close_timeout=None)(_plain)
activity_defn(queue="types", on_drain="finnish")(_plain)  # WRONG
activity_defn(queue="types", start_to_close_timeout=20)(_plain)  # WRONG
activity_defn(queue="types", heartbeat_timeout=5.0)(_plain)  # WRONG
activity_defn(queue="types", retry_policy=3)(_plain)  # WRONG
activity_defn(queue="types")(3)  # WRONG
workflow_defn(queue="types")(Plain)
workflow_defn()(Plain)  # WRONG
workflow_defn(Plain)  # WRONG
workflow_defn(queue="types", sandboxd=False)(Plain)  # WRONG
workflow_defn(queue="types", sandboxed="no")(Plain)  # WRONG
workflow_defn(queue="types")(_plain)  # WRONG
