"""Settings for an app under test, and an app as a user of ours would write it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from fastapi import Body, Depends, FastAPI
from fastapi.responses import PlainTextResponse
from fastapi.testclient import TestClient
from starlette.types import Receive, Scope, Send

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


_asked = asyncio.Event()


async def endless(scope: Scope, receive: Receive, send: Send) -> None:
    """An app without a framework: it is ready, /endless is never answered, and /asked is once that was asked for."""
    if scope["type"] != "http":
        raise NotImplementedError
    if scope["path"] == "/endless":
        _asked.set()
        await asyncio.Event().wait()
    if scope["path"] == "/asked":
        await _asked.wait()
    await PlainTextResponse("yes")(scope, receive, send)
