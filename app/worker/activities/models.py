"""What an order is made of; shared by the workflow, its activities and the API."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

OrderId = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9._-]+$")]


class Item(BaseModel):
    """One line of an order."""

    sku: str = Field(min_length=1, max_length=64)
    quantity: int = Field(default=1, ge=1, le=1000)


class PaymentDetails(BaseModel):
    """How an order is paid; `amount_cents` in the shop's currency."""

    card_token: str = Field(min_length=1, max_length=64)
    amount_cents: int = Field(ge=1, le=100_000_000)


class OrderInput(BaseModel):
    """An order as it is placed."""

    order_id: OrderId
    payment_details: PaymentDetails
    items: list[Item] = Field(min_length=1, max_length=100)
    address: str = Field(min_length=1, max_length=500)


class Payment(BaseModel):
    """A payment that was taken."""

    payment_id: str


class Reservation(BaseModel):
    """Stock set aside for an order."""

    reservation_id: str


class Shipment(BaseModel):
    """A parcel on its way."""

    tracking_number: str


class OrderOutput(BaseModel):
    """How an order ended."""

    order_id: str
    status: Literal["completed", "cancelled"]
    payment_id: str = ""
    tracking_number: str = ""
