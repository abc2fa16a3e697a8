from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, CancelledError
from temporalio.workflow import ActivityCancellationType

from app.worker.activities.models import OrderInput, OrderOutput
from benchmarks.raw_orders.activities import (
    charge_payment,
    refund_payment,
    release_inventory,
    reserve_inventory,
    schedule_shipment,
)

START_TO_CLOSE = timedelta(minutes=20)
RETRY = RetryPolicy(
    initial_interval=timedelta(seconds=1), backoff_coefficient=2.0, maximum_interval=timedelta(seconds=60)
)


@workflow.defn
class OrderWorkflow:
    """One order, from its placing to the parcel."""

    def __init__(self) -> None:
        self._state: dict[str, Any] = {}
        self._running: dict[workflow.ActivityHandle[Any], None] = {}
        self._cancelled = False
        self._cancel_reason = ""

    @workflow.run
    async def run(self, input: OrderInput) -> OrderOutput:
        undo: list[Callable[[], Awaitable[None]]] = []
        try:
            payment = await self._step("payment", charge_payment, input.payment_details, "raw-payments")
            undo.append(lambda: self._execute(refund_payment, payment, task_queue="raw-payments"))
            reservation = await self._step("reservation", reserve_inventory, input.items, "raw-orders")
            undo.append(lambda: self._execute(release_inventory, reservation, task_queue="raw-orders"))
            shipment = await self._step("shipment", schedule_shipment, input.address, "raw-orders")
        except (ActivityError, CancelledError, asyncio.CancelledError):
            self._state["step"] = "undoing"
            for compensate in reversed(undo):
                await compensate()
            self._state["step"] = "undone"
            if self._cancelled:
                return OrderOutput(order_id=input.order_id, status="cancelled")
            raise
        self._state["step"] = "done"
        return OrderOutput(
            order_id=input.order_id,
            status="completed",
            payment_id=payment.payment_id,
            tracking_number=shipment.tracking_number,
        )

    async def _step(self, name: str, activity: Any, arg: Any, task_queue: str) -> Any:
        if self._cancelled:
            raise CancelledError(self._cancel_reason)
        self._state["step"] = name
        return await self._execute(
            activity,
            arg,
            task_queue=task_queue,
            cancellation_type=ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        )

    async def _execute(self, activity: Any, arg: Any, **options: Any) -> Any:
        handle = workflow.start_activity(
            activity, arg, start_to_close_timeout=START_TO_CLOSE, retry_policy=RETRY, **options
        )
        self._running[handle] = None
        handle.add_done_callback(lambda _: self._running.pop(handle, None))
        return await handle

    @workflow.signal
    def cancel(self, reason: str = "") -> None:
        self._cancelled, self._cancel_reason = True, reason
        for handle in list(self._running):
            handle.cancel()

    @workflow.query
    def state(self) -> dict[str, Any]:
        return {"cancelled": self._cancelled, "cancel_reason": self._cancel_reason, **self._state}
