"""The API as a process of the fleet: `python -m app.api.http.main`.

SIGTERM: no new requests, finish those in hand, leave.
"""

from __future__ import annotations

import signal

import uvicorn

from app.core.config import ConfigError, use
from app.core.config.load import load_settings
from app.core.exit import ExitCode, fail, finish
from app.core.telemetry import logs, tracing

FINISH_REQUESTS_S = 10


def main() -> None:
    """Entry point; leaves with 0 after a clean stop, 2 when the configuration or the port is no good."""
    logs.configure()
    try:
        settings = use(load_settings())
    except ConfigError as error:
        fail(error)
    tracing.configure("api")
    # uvicorn raises the signal that stopped it once more when it is done; by then there is nothing left to stop.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    config = uvicorn.Config(
        "app.api.http.app:app",
        host=settings.api.host,
        port=settings.api.port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=FINISH_REQUESTS_S,
    )
    server = uvicorn.Server(config)
    try:
        server.run()
    except SystemExit:
        # uvicorn's way of saying that it could not start; it has logged why.
        finish(ExitCode.USAGE)
    finish(ExitCode.DRAINED if server.started else ExitCode.USAGE)


if __name__ == "__main__":
    main()
