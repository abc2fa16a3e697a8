"""Stand-ins with the names and types of the example's activities; both variants of the benchmark run them."""

from __future__ import annotations

import asyncio

from temporalio import activity

from app.worker.activities.models import Item, Payment, PaymentDetails, Reservation, Shipment

HOLD = "hold"
"""An order to this address waits at its last step, so that its workflow stays in the worker's cache."""


class Held:
    """How many orders wait, and what lets them go."""

    count = 0
    released: asyncio.Event | None = None


@activity.defn
async def charge_payment(payment: PaymentDetails) -> Payment:
    return Payment(payment_id=f"pay-{payment.amount_cents}")


@activity.defn
async def refund_payment(payment: Payment) -> None: ...


@activity.defn
async def reserve_inventory(items: list[Item]) -> Reservation:
    return Reservation(reservation_id=f"res-{len(items)}")


@activity.defn
async def release_inventory(reservation: Reservation) -> None: ...


@activity.defn
async def schedule_shipment(address: str) -> Shipment:
    if address == HOLD and Held.released is not None:
        Held.count += 1
        await Held.released.wait()
        Held.count -= 1
    return Shipment(tracking_number=f"ship-{address}")
