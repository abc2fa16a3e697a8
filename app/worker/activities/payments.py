"""The payment side of an order, on a task queue of its own: it scales by itself and its outage does not stop orders."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta

from temporalio import activity
from temporalio.exceptions import ApplicationError

from app.worker.activities import ledger
from app.worker.activities.models import Payment, PaymentDetails
from app.worker.registry import activity_defn

TIMEOUT = timedelta(seconds=15)
"""Many times what the bank needs; it fits into a drain, so no deploy cuts a payment."""
LIMIT_CENTS = 1_000_000
"""The example's bank declines anything above."""


@activity_defn(queue="payments", start_to_close_timeout=TIMEOUT, on_drain="finish")
async def charge_payment(payment: PaymentDetails) -> Payment:
    """Take the money, once per order. Raises a non-retryable error when the bank declines."""
    await ledger.started()
    await asyncio.sleep(random.uniform(0.5, 2.0))  # the bank's answer
    if payment.amount_cents > LIMIT_CENTS:
        raise ApplicationError(
            f"declined: {payment.amount_cents} cents are above the limit of {LIMIT_CENTS}",
            type="PaymentDeclined",
            non_retryable=True,
        )
    order = activity.info().workflow_id or ""
    return Payment(payment_id=await ledger.book(order, "payment", f"pay-{order}"))


@activity_defn(queue="payments", start_to_close_timeout=TIMEOUT, on_drain="finish")
async def refund_payment(payment: Payment) -> None:
    """Give the money back, once per payment."""
    await ledger.started()
    await asyncio.sleep(random.uniform(0.5, 1.0))
    await ledger.book(activity.info().workflow_id or "", "refund", payment.payment_id)
