"""The API as a process of the fleet: `python -m app.api.http.main [MODULE:ATTRIBUTE]`, for any ASGI application.

SIGTERM or Ctrl-C: not ready, but all is served for `api.shutdown_delay_s` more, until load balancers have seen it; then
no new connections, the requests in hand are finished, and the process leaves. A second SIGTERM changes nothing, a
second Ctrl-C ends it at once.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from uvicorn.importer import ImportFromStringError, import_from_string

from app.api.http.leaving import Leaving
from app.core.exit import ExitCode, fail, finish
from app.core.ports import check_free
from app.core.process import begin

log = logging.getLogger("app.api")

FINISH_REQUESTS_S = 10
LINGER_S = 0.5
"""How long open connections are read after the last new one: for requests that are on their way."""
LINGER_LOOKS = 20
CUT_S = 1.0
"""For the answers of what was cut."""
KEEP_ALIVE_S = 75
"""Longer than load balancers keep idle connections (nginx and AWS: 60 s), so that it is not the API that ends one just
as they use it again; uvicorn's own 5 s are a known cause of 502."""


class Front(uvicorn.Server):
    """uvicorn, leaving in steps."""

    def __init__(self, leaving: Leaving, host: str, port: int, delay_s: float) -> None:
        config = uvicorn.Config(
            leaving,
            host=host,
            port=port,
            interface="asgi3",
            log_config=None,
            access_log=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=FINISH_REQUESTS_S,
        )
        super().__init__(config)
        self._steps = leaving
        self._delay_s = delay_s
        self._leave: asyncio.Task[None] | None = None

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """uvicorn's own handlers close at once; `run_to_end` has others."""
        yield

    async def run_to_end(self) -> None:
        """Serve until a signal, and then until the last answer. Raises SystemExit when it cannot start."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, number)
        await self.serve()
        if self.server_state.tasks:  # cut a moment ago
            await asyncio.wait(self.server_state.tasks, timeout=CUT_S)

    def _stop(self, number: signal.Signals) -> None:
        if self._leave is None:
            log.info("leaving: %s received; not ready, and serving for %g s more", number.name, self._delay_s)
            self._steps.begin()
            self._leave = asyncio.create_task(self._in_steps())
        elif number == signal.SIGINT:
            os.write(2, b"interrupted twice: leaving at once\n")
            os._exit(ExitCode.INTERRUPTED)

    async def _in_steps(self) -> None:
        if self.started:
            await asyncio.sleep(self._delay_s)
            for server in self.servers:
                server.close()
            self._steps.close()
            for _ in range(LINGER_LOOKS):
                if self.server_state.connections:
                    await asyncio.sleep(LINGER_S / LINGER_LOOKS)
        self.should_exit = True


def main(argv: list[str] | None = None) -> None:
    """Entry point; leaves with 0 after a clean stop, 2 when the configuration, the application or the port is bad."""
    for number in (signal.SIGTERM, signal.SIGINT):
        # Nothing is in hand before the loop runs. As PID 1 it would not even hear a signal without a handler.
        signal.signal(number, lambda received, _: os._exit(128 + received))
    parser = argparse.ArgumentParser(prog="python -m app.api.http.main", description="Serve the HTTP front.")
    parser.add_argument("app", nargs="?", default="app.api.http.app:app", metavar="MODULE:ATTRIBUTE", help="of ASGI")
    parser.add_argument("--host", help="address that it listens on (default: api.host)")
    parser.add_argument("--port", type=int, help="its port (default: api.port)")
    arguments = parser.parse_args(argv)
    given = {name: value for name in ("host", "port") if (value := getattr(arguments, name)) is not None}
    settings = begin("api", {"api": given} if given else None).api
    if taken := check_free({"api.port": (settings.host, settings.port)}):
        fail(OSError(taken[0]))
    try:
        app = import_from_string(arguments.app)
    except ImportFromStringError as error:
        fail(error)
    front = Front(Leaving(app), settings.host, settings.port, settings.shutdown_delay_s)

    async def run() -> None:
        await front.run_to_end()
        # From here, not after the loop: asyncio.run would wait for the threads that a route has left behind.
        finish(ExitCode.DRAINED)

    try:
        asyncio.run(run())
    except SystemExit:
        # uvicorn's way of saying that it could not start; it has logged why.
        finish(ExitCode.USAGE)
    except Exception:  # a mistake of ours: the interpreter's own exit may crash
        log.exception("the API cannot go on")
        finish(1)


if __name__ == "__main__":
    main()
