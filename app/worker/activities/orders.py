"""The warehouse side of an order."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta

from temporalio import activity
from temporalio.exceptions import ApplicationError

from app.worker.activities import ledger
from app.worker.activities.models import Item, Reservation, Shipment
from app.worker.registry import activity_defn

TIMEOUT = timedelta(seconds=15)
"""Many times what the warehouse and the carrier need; it fits into a drain, so no deploy cuts an order's step."""


@activity_defn(queue="orders", start_to_close_timeout=TIMEOUT, on_drain="finish")
async def reserve_inventory(items: list[Item]) -> Reservation:
    """Set the stock aside, once per order."""
    await ledger.started()
    await asyncio.sleep(random.uniform(0.5, 1.5))  # the warehouse's answer
    order = activity.info().workflow_id or ""
    return Reservation(reservation_id=await ledger.book(order, "reservation", f"res-{order}-{len(items)}"))


@activity_defn(queue="orders", start_to_close_timeout=TIMEOUT, on_drain="finish")
async def release_inventory(reservation: Reservation) -> None:
    """Give reserved stock back, once per reservation."""
    await ledger.started()
    await asyncio.sleep(0.5)
    await ledger.book(activity.info().workflow_id or "", "release", reservation.reservation_id)


@activity_defn(queue="orders", start_to_close_timeout=TIMEOUT, on_drain="finish")
async def schedule_shipment(address: str) -> Shipment:
    """Hand the parcel to the carrier, once per order. Raises a non-retryable error for a place nobody delivers to."""
    await ledger.started()
    await asyncio.sleep(random.uniform(0.5, 2.0))  # the carrier's answer
    if address.strip().lower() == "atlantis":
        raise ApplicationError(f"no carrier delivers to {address}", type="Undeliverable", non_retryable=True)
    order = activity.info().workflow_id or ""
    return Shipment(tracking_number=await ledger.book(order, "shipment", f"ship-{order}"))
