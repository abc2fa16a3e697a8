from __future__ import annotations

import functools
from abc import ABC, abstractmethod

from temporalio import activity

from app.worker.registry import activity_defn, register


class Charges:
    """Needs something to work with, as a class of activities does."""

    def __init__(self, *, currency: str) -> None:
        self._currency = currency

    @activity_defn(queue="charges")
    async def charge(self, amount: int) -> str:
        """Take the money."""
        return f"{amount} {self._currency}, {activity.info().task_queue}"

    @activity_defn(queue="charges-sync")
    def give_back(self, amount: int) -> str:
        return f"-{amount} {self._currency}"

    @staticmethod
    @activity_defn(queue="charges-sync")
    def rate(amount: int) -> int:
        return amount * 2


class Bank(ABC):
    """What workflow code knows of a bank."""

    @activity_defn(queue="charges")
    @abstractmethod
    async def transfer(self, amount: int) -> str: ...


class PaperBank(Bank):
    @activity_defn(queue="charges")
    async def transfer(self, amount: int) -> str:
        return f"transferred {amount}"


@activity_defn(queue="charges")
class Receipt:
    """Prints."""

    def __init__(self, *, shop: str) -> None:
        self._shop = shop

    async def __call__(self, amount: int) -> str:
        return f"{self._shop}: {amount}"


class Greeting:
    async def __call__(self, name: str) -> str:
        return f"Hello {name}"


def _add(one: int, other: int) -> int:
    """Adds."""
    return one + other


charges = register(Charges(currency="EUR"))
bank = register(PaperBank())
receipt = register(Receipt(shop="Fleet"))
greet = activity_defn(queue="charges")(Greeting())
add_five = activity_defn(queue="charges-sync", name="add_five")(functools.partial(_add, 5))
