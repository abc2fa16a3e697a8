"""The API as a process of its own, as a supervisor starts it."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from app.core.ports import free_port
from tests.local.dev_fleet import until

HOST = "127.0.0.1"
OURS = (sys.executable, "-m", "app.api.http.main")


class Served:
    """One process of the API on a port that stays the same over its restarts; its log is a file."""

    def __init__(self, folder: Path, temporal: str, command: tuple[str, ...] = OURS, **settings: str) -> None:
        """`command`: another one; it is told the port by FLEET_API__PORT, or by `{port}` in it."""
        self.port = free_port(HOST)
        self.url = f"http://{HOST}:{self.port}"
        self.log = folder / f"api-{self.port}.log"
        self._command = [part.format(port=self.port) for part in command]
        own = {"TEMPORAL__ADDRESS": temporal, "API__PORT": str(self.port), **settings}
        self._env: Mapping[str, str] = {**os.environ, **{f"FLEET_{name}": value for name, value in own.items()}}
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command, env=self._env, stdout=log, stderr=log, start_new_session=True
            )

    def status(self, path: str) -> int:
        """Of a GET on a connection of its own. Raises urllib.error.URLError while nobody listens."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    def ready(self, path: str = "/readyz") -> None:
        until(lambda: self.status(path) == 200, 60)

    def connection(self) -> http.client.HTTPConnection:
        """One that is kept open between its requests, as its caller asks for, and never made again."""
        made = http.client.HTTPConnection(HOST, self.port, timeout=20)
        made.connect()
        made.auto_open = False
        return made

    def stop(self, timeout_s: float = 60, sig: int = signal.SIGTERM) -> int:
        """The exit code."""
        self.process.send_signal(sig)
        return self.process.wait(timeout_s)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()


@contextmanager
def served(
    folder: Path, temporal: str, command: tuple[str, ...] = OURS, alive: str = "/readyz", **settings: str
) -> Iterator[Served]:
    """One that answers 200 at `alive`."""
    one = Served(folder, temporal, command, **settings)
    try:
        one.ready(alive)
        yield one
    finally:
        one.kill()
