"""Loads of orders: a steady one of so many a second, however long each call takes, and what a burst is made of."""

from __future__ import annotations

import threading
import time
import urllib.error
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from types import TracebackType
from typing import Any, Self

from tests.local.dev_fleet import ORDER

TRIES = 10


def place_surely(call: Callable[..., Any], order_id: str) -> None:
    """Place an order with `call` (method, path, body, headers), again each second while the API answers 503.

    It does where Temporal takes seconds, as under a burst it may. Its key keeps an order from being started twice.
    """
    for left in reversed(range(TRIES)):
        try:
            call("POST", "/orders", {"order_id": order_id, **ORDER}, {"Idempotency-Key": order_id})
            return
        except urllib.error.HTTPError as error:
            if error.code != 503 or not left:
                raise
        time.sleep(1)


class SteadyOrders:
    """Places orders from entering to leaving; `placed` are those that the API took, `refused` the others, and why."""

    def __init__(self, place: Callable[[str], Any], per_s: float, name: str = "load") -> None:
        """`place` takes an order id, and raises OSError when the order is refused."""
        self.placed: list[str] = []
        self.refused: list[str] = []
        self._place = place
        self._per_s = per_s
        self._name = name
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._seconds = 0.0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._done.set()
        self._thread.join()

    @property
    def rate(self) -> float:
        """Orders a second that were taken, once it is over."""
        return len(self.placed) / self._seconds

    def _run(self) -> None:
        begin = due = time.monotonic()
        with ThreadPoolExecutor(32) as threads:
            for number in count():
                if self._done.is_set():
                    break
                threads.submit(self._one, f"{self._name}-{number}")
                due += 1 / self._per_s
                time.sleep(max(0.0, due - time.monotonic()))
        self._seconds = time.monotonic() - begin

    def _one(self, order_id: str) -> None:
        try:
            self._place(order_id)
        except OSError as error:
            self.refused.append(f"{order_id}: {error}")
        else:
            self.placed.append(order_id)
