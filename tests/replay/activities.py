"""Activities of the tour."""

from __future__ import annotations

from temporalio.exceptions import ApplicationError

from app.worker.registry import activity_defn


@activity_defn(queue="tour")
async def visit(place: str) -> str:
    return f"saw {place}"


@activity_defn(queue="tour-abroad")
def visit_abroad(place: str) -> str:
    return f"saw {place} abroad"


@activity_defn(queue="tour")
async def miss_the_train() -> None:
    raise ApplicationError("missed", type="Missed", non_retryable=True)
