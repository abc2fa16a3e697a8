"""The example's book: what was done for each order, and every time an activity's body was started.

Effects are idempotent: one row per order and effect, so an activity that runs twice books once. Starts are append-only
and committed before the effect, so that a body that ran twice can be counted and is not hidden by idempotency.
SQLite in a file by default; any SQLAlchemy URL otherwise (PostgreSQL on a cluster).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from sqlalchemy import DateTime, Engine, String, UniqueConstraint, create_engine, event, select
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from temporalio import activity

from app.core.config import get_settings

T = TypeVar("T")

BUSY_TIMEOUT_S = 30
"""SQLite has one writer at a time; this long a process waits for its turn."""


class Base(DeclarativeBase):
    pass


class BodyStart(Base):
    """One start of an activity's body; never updated, never deleted."""

    __tablename__ = "body_starts"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    workflow_id: Mapped[str] = mapped_column(String(255), index=True)
    activity_id: Mapped[str] = mapped_column(String(255))
    activity: Mapped[str] = mapped_column(String(255))
    attempt: Mapped[int]
    worker: Mapped[str] = mapped_column(String(255))


class Effect(Base):
    """What was done for an order, once; `reference` is its name outside (a payment id, a tracking number)."""

    __tablename__ = "effects"
    __table_args__ = (UniqueConstraint("order_id", "kind"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[str] = mapped_column(String(255))
    kind: Mapped[str] = mapped_column(String(64))
    reference: Mapped[str] = mapped_column(String(255))


def ledger_url() -> str:
    """ledger.url, or the SQLite file in local.data_dir."""
    settings = get_settings()
    return (
        settings.ledger.url.get_secret_value() or f"sqlite:///{Path(settings.local.data_dir).resolve() / 'ledger.db'}"
    )


@lru_cache(maxsize=4)
def open_ledger(url: str) -> Engine:
    """The engine of a ledger whose tables exist. Raises sqlalchemy.exc.SQLAlchemyError."""
    engine = create_engine(url, pool_pre_ping=not url.startswith("sqlite"))
    if url.startswith("sqlite"):
        Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        event.listen(engine, "connect", _configure_sqlite)
    _create_tables(engine)
    return engine


async def started() -> None:
    """Write down that this activity's body starts now; committed when it returns."""
    info = activity.info()
    row = BodyStart(
        at=datetime.now(UTC),
        workflow_id=info.workflow_id or "",
        activity_id=info.activity_id,
        activity=info.activity_type,
        attempt=info.attempt,
        worker=activity.client().identity,
    )
    await _in_thread(lambda session: session.add(row))


async def book(order_id: str, kind: str, reference: str) -> str:
    """Book an effect once; returns the reference that stands, which is an earlier one's if it was booked before."""

    def write(session: Session) -> str:
        session.add(Effect(order_id=order_id, kind=kind, reference=reference))
        return reference

    try:
        return await _in_thread(write)
    except IntegrityError:
        found = select(Effect.reference).where(Effect.order_id == order_id, Effect.kind == kind)
        return await _in_thread(lambda session: session.scalars(found).one())


async def _in_thread(work: Callable[[Session], T]) -> T:
    """Run blocking database work in one transaction, off the event loop."""

    def transaction() -> T:
        with Session(open_ledger(ledger_url())) as session, session.begin():
            return work(session)

    return await asyncio.to_thread(transaction)


def _create_tables(engine: Engine) -> None:
    """Make what is missing, while other processes may do the same: each failure means that one of them made a table."""
    for _ in Base.metadata.tables:
        try:
            return Base.metadata.create_all(engine)
        except DBAPIError:
            continue
    return Base.metadata.create_all(engine)


def _configure_sqlite(connection: object, _record: object) -> None:
    execute = connection.cursor().execute  # type: ignore[attr-defined]
    execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_S * 1000}")
    execute("PRAGMA journal_mode=WAL")
    execute("PRAGMA synchronous=NORMAL")
