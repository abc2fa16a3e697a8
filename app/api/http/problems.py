"""Errors as `application/problem+json` (RFC 9457), with the status a caller can act on."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from app.core.services.temporal.temporal_client import TemporalUnavailable

RETRY_AFTER_S = 1

_STATUS: Mapping[RPCStatusCode, tuple[int, str]] = {
    RPCStatusCode.NOT_FOUND: (404, "no such workflow"),
    RPCStatusCode.ALREADY_EXISTS: (409, "already exists"),
    RPCStatusCode.INVALID_ARGUMENT: (400, "Temporal refuses the request"),
    RPCStatusCode.RESOURCE_EXHAUSTED: (429, "Temporal limits the rate"),
    RPCStatusCode.UNAVAILABLE: (503, "Temporal is unavailable"),
    RPCStatusCode.DEADLINE_EXCEEDED: (503, "Temporal did not answer in time"),
    RPCStatusCode.CANCELLED: (503, "Temporal did not answer in time"),
}


def problem(status: int, title: str, detail: str, **more: object) -> JSONResponse:
    """One problem document."""
    headers = {"Retry-After": str(RETRY_AFTER_S)} if status in (429, 503) else None
    return JSONResponse(
        {"title": title, "status": status, "detail": detail, **more},
        status,
        headers=headers,
        media_type="application/problem+json",
    )


def install(app: FastAPI) -> None:
    """Map the errors that routes let through."""

    @app.exception_handler(TemporalUnavailable)
    async def unavailable(_request: Request, error: TemporalUnavailable) -> JSONResponse:
        return problem(503, "Temporal is unavailable", str(error))

    @app.exception_handler(TimeoutError)
    async def timeout(_request: Request, _error: TimeoutError) -> JSONResponse:
        return problem(503, "Temporal did not answer in time", "Ask again; a start with the same id is not repeated.")

    @app.exception_handler(WorkflowAlreadyStartedError)
    async def duplicate(_request: Request, error: WorkflowAlreadyStartedError) -> JSONResponse:
        return problem(
            409, "already started", f"workflow {error.workflow_id} was started before", workflow_id=error.workflow_id
        )

    @app.exception_handler(RPCError)
    async def refused(_request: Request, error: RPCError) -> JSONResponse:
        status, title = _STATUS.get(error.status, (502, "Temporal answered with an error"))
        return problem(status, title, error.message)

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        errors = [{"path": ".".join(map(str, line["loc"])), "message": line["msg"]} for line in error.errors()]
        return problem(
            422, "the request is not valid", "; ".join(f"{e['path']}: {e['message']}" for e in errors), errors=errors
        )
