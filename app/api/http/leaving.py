"""An ASGI app that its callers leave before it leaves them.

SIGTERM comes to a server while load balancers still send and clients still hold connections to it. So it goes in
steps: `begin` makes it not ready and ends every connection with its next answer (`Connection: close`), while all is
served as before; `close`, when nobody sends any more, ends what only waits. What even then does not come to an end is
answered with 503 when it is cut, so that no caller is left with half an answer.

Rejected: a preStop sleep alone. The process does not know of it, so clients keep their connections to its last moment,
and then send into a closed one; and it is of no use outside Kubernetes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

from fastapi import Request
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.http.problems import problem

T = TypeVar("T")

READINESS_PATH = "/readyz"
_CLOSE = (b"connection", b"close")
_CLOSING = "fleet_closing"


class Leaving:
    """ASGI middleware, the outermost one; one for each process."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._begun = False
        self._closing = asyncio.Event()

    def begin(self) -> None:
        """Not ready from now on (/readyz is 503, whatever the app says), and each answer is its connection's last."""
        self._begun = True

    def close(self) -> None:
        """End what only waits (`wait_for`)."""
        self._closing.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answered = False

        async def last(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start":
                answered = True
                if self._begun:
                    message = {**message, "headers": [*message.get("headers", ()), _CLOSE]}
            await send(message)

        if self._begun and scope["path"] == READINESS_PATH:
            await JSONResponse({"ok": False, "leaving": True}, 503)(scope, receive, last)
            return
        scope.setdefault("state", {})[_CLOSING] = self._closing
        try:
            await self._app(scope, receive, last)
        except asyncio.CancelledError:
            if answered or not self._closing.is_set():
                raise
            cut = problem(503, "the API is being stopped", "It was stopped before it had the answer. Ask again.")
            await cut(scope, receive, last)


async def wait_for(request: Request, work: Awaitable[T], timeout_s: float) -> T:
    """What `work` gives, for a caller who said how long to wait for it; `work` is cancelled otherwise.

    Raises TimeoutError after `timeout_s` seconds, and at once when the API leaves or the caller has hung up.
    """
    wanted = asyncio.ensure_future(work)
    waits: list[asyncio.Future[Any]] = [wanted, asyncio.create_task(_hung_up(request))]
    if closing := getattr(request.state, _CLOSING, None):
        waits.append(asyncio.create_task(closing.wait()))
    try:
        await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if not wanted.done():
            raise TimeoutError
        return wanted.result()
    finally:
        for each in waits:
            each.cancel()


async def _hung_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
