"""The example's ledger: an effect is booked once, a start every time; on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.core.config import get_settings, use
from app.core.config.model import Settings
from app.worker.activities import ledger
from app.worker.activities.models import OrderInput
from app.worker.workflows.orders import OrderWorkflow
from tests.local.dev_fleet import ORDER
from tests.worker.pools import running_pools


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    settings = {"local": {"data_dir": str(tmp_path)}}
    if request.param == "postgres":
        settings["ledger"] = {"url": request.getfixturevalue("postgres_url")}
    use(Settings.model_validate(settings))
    yield ledger.ledger_url()
    ledger.open_ledger.cache_clear()


def test_the_second_booking_of_an_effect_gives_the_first_ones_reference(url: str) -> None:
    assert asyncio.run(ledger.book("order-1", "payment", "pay-1")) == "pay-1"
    assert asyncio.run(ledger.book("order-1", "payment", "pay-2")) == "pay-1"
    assert asyncio.run(ledger.book("order-1", "refund", "back-1")) == "back-1"
    with Session(ledger.open_ledger(url)) as session:
        kinds = session.scalars(select(ledger.Effect.kind).where(ledger.Effect.order_id == "order-1")).all()
    assert sorted(kinds) == ["payment", "refund"]


def test_concurrent_bookings_agree_on_one_reference(url: str) -> None:
    with ThreadPoolExecutor(8) as threads:
        references = list(threads.map(lambda n: asyncio.run(ledger.book("order-2", "payment", f"pay-{n}")), range(8)))
    assert len(set(references)) == 1


def test_an_order_leaves_a_start_and_an_effect_of_each_activity(url: str, temporal_address: str) -> None:
    workflow_id = f"order-{uuid.uuid4()}"
    settings = Settings.model_validate(
        {**get_settings().model_dump(), "temporal": {"address": temporal_address, "worker": {"identity": "somebody"}}}
    )

    async def order() -> None:
        async with running_pools(settings, "orders", "payments") as client:
            order = OrderInput.model_validate({"order_id": workflow_id.removeprefix("order-"), **ORDER})
            assert (await OrderWorkflow.execute_workflow(client, input=order, id=workflow_id)).status == "completed"

    asyncio.run(order())
    with Session(ledger.open_ledger(url)) as session:
        starts = session.scalars(select(ledger.BodyStart).where(ledger.BodyStart.workflow_id == workflow_id)).all()
        effects = session.scalars(select(ledger.Effect.kind).where(ledger.Effect.order_id == workflow_id)).all()
    assert [(s.activity, s.attempt, s.worker) for s in starts] == [
        (name, 1, "somebody") for name in ("charge_payment", "reserve_inventory", "schedule_shipment")
    ]
    assert effects == ["payment", "reservation", "shipment"]
