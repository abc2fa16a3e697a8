"""The example: an order is paid, reserved and shipped; when a step fails or it is cancelled, the rest is undone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from temporalio.exceptions import ActivityError, CancelledError
from temporalio.workflow import ActivityCancellationType

from app.worker.activities.models import OrderInput, OrderOutput
from app.worker.activities.orders import release_inventory, reserve_inventory, schedule_shipment
from app.worker.activities.payments import charge_payment, refund_payment
from app.worker.registry import workflow_defn
from app.worker.workflows.base import BaseWorkflow

A = TypeVar("A")
R = TypeVar("R")


@workflow_defn(queue="orders")
class OrderWorkflow(BaseWorkflow[OrderInput, OrderOutput]):
    """One order, from its placing to the parcel."""

    async def run(self, input: OrderInput) -> OrderOutput:
        try:
            async with self.saga(lambda: self._state.update(step="undoing")) as saga:
                payment = await self._step("payment", charge_payment, input.payment_details)
                saga.add(refund_payment, payment)
                reservation = await self._step("reservation", reserve_inventory, input.items)
                saga.add(release_inventory, reservation)
                shipment = await self._step("shipment", schedule_shipment, input.address)
        except (ActivityError, CancelledError, asyncio.CancelledError):
            self._state["step"] = "undone"
            if self.is_cancelled:
                return OrderOutput(order_id=input.order_id, status="cancelled")
            raise
        self._state["step"] = "done"
        return OrderOutput(
            order_id=input.order_id,
            status="completed",
            payment_id=payment.payment_id,
            tracking_number=shipment.tracking_number,
        )

    async def _step(self, name: str, activity: Callable[[A], Awaitable[R]], arg: A) -> R:
        if self.is_cancelled:
            raise CancelledError(self.cancel_reason)
        self._state["step"] = name
        # A body that is already at work is not told of a cancel; waiting for its result is what lets us undo it.
        return await self.execute_activity(
            activity, arg, cancellation_type=ActivityCancellationType.WAIT_CANCELLATION_COMPLETED
        )
