"""Activities that workflows of the tests name; no decorator of ours, the tests fill registries of their own."""

from __future__ import annotations

from temporalio import activity


@activity.defn
async def charge(amount: int) -> int:
    return amount


@activity.defn
async def refund(amount: int) -> int:
    return -amount


class Charges:
    """Activities that need a connection."""

    @activity.defn
    async def collect(self, amount: int) -> int:
        return amount


charges = Charges()
