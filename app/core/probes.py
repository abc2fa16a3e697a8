"""A small HTTP server on a thread of its own, for probes and metrics: it answers while the event loop is blocked.

One for workers and operator alike; each gives it a table of paths.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from app.core.config import named

log = logging.getLogger("app.core.probes")
PROMETHEUS_TEXT = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True)
class Answer:
    """What a path answers."""

    status: int
    body: bytes
    content_type: str = "text/plain; charset=utf-8"


def verdict(ok: bool, detail: str, **more: object) -> Answer:
    """The answer of a probe: 200 or 503, with the reason."""
    body = json.dumps({"ok": ok, "detail": detail, **more}).encode() + b"\n"
    return Answer(200 if ok else 503, body, "application/json")


def process_metrics() -> Answer:
    """All that this process counts, for Prometheus."""
    from prometheus_client import generate_latest

    return Answer(200, generate_latest(), PROMETHEUS_TEXT)


class ProbeServer:
    """Serves `routes` on `host`:`port` until the process ends."""

    def __init__(self, host: str, port: int, routes: Mapping[str, Callable[[], Answer]], setting: str) -> None:
        """`port` 0 takes a free one. `setting`: path of the port's setting, for the error.

        Raises OSError, which names the setting, when it cannot be listened on.
        """
        try:
            self._server = ThreadingHTTPServer((host, port), _handler(routes))
        except OSError as error:
            raise OSError(
                f"probes: {host}:{port} cannot be listened on: {error.strerror}.\n"
                f"Set {named(setting)}; 0 takes a free port."
            ) from error
        self._server.daemon_threads = True
        # A client that hangs up is no news; the default prints a traceback.
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        self.address = f"{host}:{self._server.server_address[1]}"

    def start(self) -> None:
        log.info("health and metrics on %s", self.address)
        threading.Thread(target=self._server.serve_forever, name="probes", daemon=True).start()


def _handler(routes: Mapping[str, Callable[[], Answer]]) -> type[BaseHTTPRequestHandler]:
    nothing = Answer(404, f"try {', '.join(routes)}\n".encode())

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = routes.get(self.path.partition("?")[0], lambda: nothing)()
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.content_type)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, format: str, *args: Any) -> None:
            """Probes come every few seconds; their lines would drown the rest."""

    return Handler
