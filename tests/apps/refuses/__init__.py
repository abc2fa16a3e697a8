"""Good in the supervisor, bad in a worker: what a dependency does that is missing on one of two machines."""

from __future__ import annotations

import os

from app.worker.registry import activity_defn

if os.environ.get("FLEET_TEMPORAL__WORKER__IDENTITY"):
    raise ImportError("libpayments.so.2 is not installed")


@activity_defn(queue="refuses")
async def pay() -> None: ...
