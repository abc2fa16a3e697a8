"""Settings for an app under test, and an app as a user of ours would write it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from fastapi import Body, Depends, FastAPI
from fastapi.testclient import TestClient

from app.api.http import problems
from app.api.http.body_limit import BodyLimit
from app.api.http.deps import get_temporal_service, lifespan
from app.core.config import use
from app.core.config.model import Settings
from app.core.services.temporal.temporal_client import TemporalClientService


@contextmanager
def entered(app: FastAPI, address: str, **temporal: Any) -> Iterator[TestClient]:
    """A client of `app` while it runs, with Temporal at `address`; further keys of that section may be given."""
    use(Settings.model_validate({"temporal": {"address": address, "rpc_timeout_s": 2, **temporal}}))
    with TestClient(app) as client:
        yield client


def own_app() -> FastAPI:
    """Ours are the lifespan, the dependency, the limit and the problems."""
    app = FastAPI(lifespan=lifespan)
    app.add_middleware(BodyLimit)
    problems.install(app)

    @app.post("/start/{name}")
    async def start(
        name: str,
        text: Annotated[str, Body()],
        temporal: Annotated[TemporalClientService, Depends(get_temporal_service)],
    ) -> str:
        client = await temporal.get_client()
        return (await client.start_workflow("Nobody", text, id=name, task_queue="nobody")).id

    return app


def _endless() -> FastAPI:
    app = FastAPI()
    asked = asyncio.Event()

    @app.get("/readyz")
    async def readyz() -> bool:
        return True

    @app.get("/endless")
    async def endless() -> None:
        asked.set()
        await asyncio.Event().wait()

    @app.get("/asked")
    async def was_asked() -> bool:
        return await asked.wait()

    return app


endless = _endless()
"""A route of it never answers, and another one does when that has been asked."""
