"""Errors as `application/problem+json` (RFC 9457), with the status a caller can act on.

`install(app)` is for any FastAPI app. What the Temporal client raises needs no handling in a route where the server or
a workflow said no, or nobody answered. What is a mistake of the route itself (an input of the wrong type, a result that
it reads as another one) is a 500, and a traceback in the log.
"""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from temporalio.api.errordetails.v1 import NamespaceNotFoundFailure
from temporalio.client import (
    ScheduleAlreadyRunningError,
    WorkflowContinuedAsNewError,
    WorkflowFailureError,
    WorkflowQueryFailedError,
    WorkflowQueryRejectedError,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from app.core.config import SettingsNotLoaded, get_settings
from app.core.services.temporal.failures import TemporalUnavailable, unavailable

RETRY_AFTER_S = 1

_TOO_LARGE = ("size exceeds limit", "exceeds size limit", "larger than max")
"""Of an input over 2 MiB, a memo over its own limit, and a message over 4 MiB."""

_NO_JSON = (RecursionError, UnicodeDecodeError)
"""FastAPI answers 400 for these, and 422 for JSON that is broken otherwise; for the caller it is one mistake."""

_INVALID = "the request is not valid"
_UNAVAILABLE = (503, "Temporal is unavailable")
_IMPOSSIBLE = (409, "not possible as things stand")
_EXISTS = (409, "already exists")
_STATUS: Mapping[RPCStatusCode, tuple[int, str]] = {
    RPCStatusCode.NOT_FOUND: (404, "no such workflow"),
    RPCStatusCode.ALREADY_EXISTS: _EXISTS,
    RPCStatusCode.FAILED_PRECONDITION: _IMPOSSIBLE,
    RPCStatusCode.INVALID_ARGUMENT: (422, "Temporal refuses the request"),
    RPCStatusCode.RESOURCE_EXHAUSTED: (429, "Temporal limits the rate"),
    RPCStatusCode.UNAVAILABLE: _UNAVAILABLE,
    RPCStatusCode.DEADLINE_EXCEEDED: _UNAVAILABLE,
    RPCStatusCode.CANCELLED: _UNAVAILABLE,
    # Ours to mend, not the caller's: it is this API that Temporal does not permit.
    RPCStatusCode.PERMISSION_DENIED: _UNAVAILABLE,
    RPCStatusCode.UNAUTHENTICATED: _UNAVAILABLE,
}

_NOT_IN_TIME = (
    "The workflow's worker did not take the update, or Temporal did not answer, within the limit of the call. Send it "
    "again with the same id of the update, and it is not done twice."
)
_WORKFLOW: Mapping[type[Exception], tuple[int, str, str]] = {
    WorkflowUpdateFailedError: (422, "the workflow refuses the update", ""),
    WorkflowUpdateRPCTimeoutOrCancelledError: (503, "the workflow did not answer in time", _NOT_IN_TIME),
    WorkflowQueryFailedError: (422, "the workflow cannot answer the query", ""),
    WorkflowQueryRejectedError: (*_IMPOSSIBLE, ""),
    WorkflowContinuedAsNewError: (*_IMPOSSIBLE, "the run has ended, and the workflow goes on as another one"),
    WorkflowFailureError: (500, "the workflow failed", ""),
    ScheduleAlreadyRunningError: (*_EXISTS, ""),
}
"""Status, title, and the detail where the error's root cause is none."""

_NO_SUCH_QUERY = ("Query handler for", "expected but not found")
"""The Python SDK's words, which are all that comes back."""


def problem(
    status: int, title: str, detail: str, headers: Mapping[str, str] | None = None, **more: object
) -> JSONResponse:
    """One problem document; `more` are members of its own."""
    later = {"Retry-After": str(RETRY_AFTER_S)} if status in (429, 503) else {}
    return JSONResponse(
        {"title": title, "status": status, "detail": detail, **more},
        status,
        headers={**later, **(headers or {})},
        media_type="application/problem+json",
    )


def root_cause(error: BaseException) -> str:
    """The text of the error at the end of the chain of causes: of a failed workflow, what its code raised."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error)


def install(app: FastAPI) -> None:
    """Map the errors that routes let through, and FastAPI's own."""
    app.add_exception_handler(TemporalUnavailable, _unavailable)
    app.add_exception_handler(WorkflowAlreadyStartedError, _duplicate)
    app.add_exception_handler(RPCError, _refused)
    for kind in _WORKFLOW:
        app.add_exception_handler(kind, _answered)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unexpected)


async def _unavailable(_request: Request, error: Exception) -> JSONResponse:
    return problem(*_UNAVAILABLE, str(error))


async def _duplicate(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, WorkflowAlreadyStartedError)
    detail = f"workflow {error.workflow_id} was started before"
    return problem(409, "already started", detail, workflow_id=error.workflow_id)


async def _answered(_request: Request, error: Exception) -> JSONResponse:
    status, title, detail = next(_WORKFLOW[kind] for kind in type(error).__mro__ if kind in _WORKFLOW)
    detail = detail or root_cause(error)
    if isinstance(error, WorkflowQueryRejectedError) and error.status:
        detail = f"the workflow is {error.status.name.lower()}"
    if isinstance(error, WorkflowQueryFailedError) and all(text in detail for text in _NO_SUCH_QUERY):
        status, title = 404, "no such query"
    return problem(status, title, detail)


async def _refused(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RPCError)
    status, title = _STATUS.get(error.status, (502, "Temporal answered with an error"))
    if any(text in error.message for text in _TOO_LARGE):
        status, title = 413, "too large for Temporal"
    elif any(detail.Is(NamespaceNotFoundFailure.DESCRIPTOR) for detail in error.grpc_status.details):
        status, title = _UNAVAILABLE
    return problem(status, title, _why(error) if status == 503 else error.message)


def _why(error: RPCError) -> str:
    try:
        return str(unavailable(error, get_settings().temporal))
    except SettingsNotLoaded:
        return error.message


async def _invalid(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    errors = [{"path": ".".join(map(str, line["loc"])), "message": line["msg"]} for line in error.errors()]
    detail = "; ".join(f"{each['path']}: {each['message']}" for each in errors)
    return problem(422, _INVALID, detail, errors=errors)


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    if error.status_code == 400 and isinstance(error.__cause__, _NO_JSON):
        message = "it is nested too deeply" if isinstance(error.__cause__, RecursionError) else "it is not UTF-8"
        errors = [{"path": "body", "message": message}]
        return problem(422, _INVALID, f"body: {message}", errors=errors)
    title = {
        404: "not found",
        405: "method not allowed",
        409: "conflict",
        413: "the request is too large",
        422: _INVALID,
    }
    detail = f"{request.method} {request.url.path}" if error.status_code in (404, 405) else str(error.detail)
    return problem(error.status_code, title.get(error.status_code, str(error.detail)), detail, error.headers)


async def _unexpected(_request: Request, _error: Exception) -> JSONResponse:
    return problem(500, "internal error", "The log of the API says what went wrong.")
