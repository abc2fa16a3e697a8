"""The HTTP front: starts workflows and shows them. `uvicorn app.api.http.app:app`, or `python -m app.api.http.main`."""

from __future__ import annotations

from fastapi import FastAPI

from app.api.http import problems
from app.api.http.body_limit import BodyLimit
from app.api.http.deps import lifespan
from app.api.http.routers import health, orders


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
    app.add_middleware(BodyLimit)
    app.include_router(orders.router)
    app.include_router(health.router)
    return app


def _is_probe(scope: object) -> bool:
    return isinstance(scope, dict) and scope.get("path") in ("/healthz", "/readyz")


app = create_app()
