"""The HTTP front: starts workflows and shows them. `uvicorn app.api.http.app:app`, or `python -m app.api.http.main`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from app.api.http import problems
from app.api.http.deps import get_temporal_service
from app.api.http.routers import health, orders
from app.core.config import SettingsNotLoaded, get_settings, use
from app.core.config.load import load_settings
from app.core.telemetry import tracing


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    """Settings and tracing for an app that uvicorn imported; the Temporal connection is made by the first request."""
    try:
        get_settings()
    except SettingsNotLoaded:
        use(load_settings())
    tracing.configure("api")
    yield
    await get_temporal_service().close()


def create_app() -> FastAPI:
    """The application with the example's routes."""
    app = FastAPI(
        title="Worker Fleet for Temporal",
        version="0.1.0",
        lifespan=lifespan,
        # One span a request, by FastAPI itself; the spans of its inner steps would bury the workflow's.
        telemetry={"metrics": False, "logs": False, "operation_spans": False, "exclude": _is_probe},
    )
    problems.install(app)
    app.include_router(orders.router)
    app.include_router(health.router)
    return app


def _is_probe(scope: object) -> bool:
    return isinstance(scope, dict) and scope.get("path") in ("/healthz", "/readyz")


app = create_app()
