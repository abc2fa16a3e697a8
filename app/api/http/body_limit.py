"""A limit for request bodies, before anybody parses them: what is larger than this, Temporal takes in no case.

Between this and Temporal's limit for one input (2 MiB) a body may still become a smaller input: whoever parses it
knows, and Temporal's own refusal is answered with the same status.
"""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES = 4 * 1024 * 1024
"""Largest gRPC message that the frontend of Temporal takes by default."""

_DETAIL = f"The body may have {MAX_BODY_BYTES} bytes. Keep large data elsewhere and send a reference to it."


class BodyLimit:
    """ASGI middleware: 413 for a longer body, as soon as that much of it has come."""

    def __init__(self, app: ASGIApp, limit: int = MAX_BODY_BYTES) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        got = 0

        async def counted() -> Message:
            nonlocal got
            message = await receive()
            got += len(message.get("body", b""))
            if got > self._limit:
                raise HTTPException(413, _DETAIL)
            return message

        await self._app(scope, counted, send)
