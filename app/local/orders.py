"""The example's customer: places orders through the HTTP API, one to show that all works, or many for a load.

It goes with the example; a fleet without `OrderWorkflow` has no use for it.
"""

from __future__ import annotations

import asyncio
import json
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

HTTP_TIMEOUT_S = 10.0
LOOK_S = 0.25

SAMPLE: dict[str, Any] = {
    "payment_details": {"card_token": "tok-visa", "amount_cents": 4200},
    "items": [{"sku": "mug", "quantity": 2}],
    "address": "1 Main Street",
}


class OrderFailed(RuntimeError):
    """An order could not be placed, or did not complete; the text is the API's answer."""


class NotNow(OrderFailed):
    """The API says that Temporal is slow or away; asking again may help."""


@dataclass
class Load:
    """What a load has done so far."""

    placed: int = 0
    refused: int = 0


class Customer:
    """Talks to the API at `base`, e.g. "http://127.0.0.1:8000"."""

    def __init__(self, base: str) -> None:
        self._base = base
        self._series = f"{time.time():.0f}"
        self._count = 0

    def curl(self) -> str:
        """The command line that places another order."""
        body = json.dumps({"order_id": "my-1", **SAMPLE})
        return f"curl -X POST {self._base}/orders -H 'content-type: application/json' -d '{body}'"

    async def place(self) -> str:
        """Place the sample order; returns its id. Raises OrderFailed."""
        self._count += 1
        order_id = f"{self._series}-{self._count}"
        await asyncio.to_thread(self._call, "POST", "/orders", {"order_id": order_id, **SAMPLE})
        return order_id

    async def completed(self, order_id: str) -> dict[str, Any]:
        """Wait until an order has ended; the API's view of it. Raises OrderFailed unless it completed."""
        while True:
            try:
                view = await asyncio.to_thread(self._call, "GET", f"/orders/{order_id}")
            except NotNow:
                await asyncio.sleep(LOOK_S)
                continue
            if view["status"] == "completed":
                return view
            if view["status"] != "running":
                raise OrderFailed(f"order {order_id} is {view['status']}: {view['error']}")
            await asyncio.sleep(LOOK_S)

    async def reachable(self, timeout_s: float) -> None:
        """Wait until the API answers. Raises OrderFailed after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                await asyncio.to_thread(self._call, "GET", "/healthz")
            except OrderFailed:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.1)
            else:
                return

    async def keep_placing(self, per_s: float, load: Load) -> None:
        """Place `per_s` orders a second until cancelled, whatever becomes of each."""
        pending: set[asyncio.Task[None]] = set()
        due = time.monotonic()
        while True:
            task = asyncio.create_task(self._place_one(load))
            pending.add(task)
            task.add_done_callback(pending.discard)
            due += 1 / per_s
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _place_one(self, load: Load) -> None:
        try:
            await self.place()
            load.placed += 1
        except OrderFailed:
            load.refused += 1

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        request = urllib.request.Request(
            self._base + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"content-type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=HTTP_TIMEOUT_S) as answer:
                view: dict[str, Any] = json.load(answer)
                return view
        except urllib.error.HTTPError as error:
            kind = NotNow if error.code in (429, 503) else OrderFailed
            raise kind(f"{method} {path}: {error.code} {error.read().decode(errors='replace')}") from None
        except OSError as error:
            raise OrderFailed(f"{method} {self._base}{path}: {error}") from None
