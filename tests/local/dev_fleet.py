"""`fleet dev` as a user runs it, for tests: a process in a session of its own, with real parts and its own folder."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from app.core.ports import free_port

ROOT = Path(__file__).parents[2]
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 60.0

ORDER: dict[str, Any] = {
    "payment_details": {"card_token": "tok", "amount_cents": 100},
    "items": [{"sku": "mug"}],
    "address": "1 Main Street",
}


class DevFleet:
    """Starts on entering, stops (SIGTERM) on leaving; every line it printed is in `lines`."""

    def __init__(
        self,
        data: Path,
        *arguments: str,
        settings: Mapping[str, str] | None = None,
        cwd: Path = ROOT,
        argv: list[str] | None = None,
        ports: Mapping[str, int] | None = None,
    ) -> None:
        """`settings`: variables without their FLEET_ prefix. `argv`: another command than `fleet dev`."""
        self.data = data
        self.ports = ports or {name: free_port("127.0.0.1") for name in ("temporal", "ui", "api", "metrics")}
        self.started = False
        self.lines: list[str] = []
        self._new: queue.Queue[str] = queue.Queue()
        self._argv = argv or [sys.executable, "-m", "app.cli", "dev", *arguments]
        self._cwd = cwd
        self._env = {
            **os.environ,
            "PYTHONUNBUFFERED": "1",
            "FLEET_LOCAL__DATA_DIR": str(data),
            "FLEET_LOCAL__TEMPORAL_PORT": str(self.ports["temporal"]),
            "FLEET_LOCAL__TEMPORAL_UI_PORT": str(self.ports["ui"]),
            "FLEET_LOCAL__METRICS_PORT": str(self.ports["metrics"]),
            "FLEET_API__PORT": str(self.ports["api"]),
            **{f"FLEET_{name}": value for name, value in (settings or {}).items()},
        }

    @property
    def temporal(self) -> str:
        return f"127.0.0.1:{self.ports['temporal']}"

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.ports['api']}"

    @property
    def ledger(self) -> str:
        """SQLAlchemy URL of the example's book."""
        return f"sqlite:///{self.data / 'ledger.db'}"

    @property
    def env(self) -> dict[str, str]:
        """The environment of the supervisor."""
        return dict(self._env)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self.process.poll() is None:
            self.stop()
        if kind is not None:
            print("\n".join(["the fleet said:", *self.lines]))

    def start(self) -> None:
        self.started = True
        self.process = subprocess.Popen(
            self._argv,
            cwd=self._cwd,
            env=self._env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, args=(self.process,), daemon=True)
        self._reader.start()

    def stop(self, sig: int = signal.SIGTERM) -> int:
        """Signal the supervisor alone; its exit code."""
        os.kill(self.process.pid, sig)
        return self.process.wait(STOP_TIMEOUT_S)

    def expect(self, text: str, timeout_s: float = START_TIMEOUT_S) -> str:
        """The next line that holds `text`. Raises AssertionError when it does not come."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                line = self._new.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                said = "\n".join(self.lines)
                raise AssertionError(f"no line with {text!r} within {timeout_s:g} s; the fleet said:\n{said}") from None
            if text in line:
                return line

    def said(self) -> str:
        """All that a process which has ended printed."""
        self._reader.join(10)
        return "\n".join(self.lines)

    def ready(self) -> None:
        """Wait until it stays."""
        self.expect("Ctrl-C stops the fleet")

    def state(self) -> dict[str, Any]:
        """state.json: who runs."""
        state: dict[str, Any] = json.loads((self.data / "state.json").read_text())
        return state

    def workers(self, task_queue: str) -> list[dict[str, Any]]:
        workers: list[dict[str, Any]] = self.state()["queues"][task_queue]["workers"]
        return workers

    def place(self, order_id: str, **changes: Any) -> dict[str, Any]:
        """POST /orders."""
        return self.call("POST", "/orders", {"order_id": order_id, **ORDER, **changes})

    def call(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        request = urllib.request.Request(
            self.api + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"content-type": "application/json", **(headers or {})},
        )
        with urllib.request.urlopen(request, timeout=15) as answer:
            view: dict[str, Any] = json.load(answer)
            return view

    def await_order(self, order_id: str, timeout_s: float = 60.0) -> dict[str, Any]:
        """The view of an order that has ended."""
        view: dict[str, Any] = until(
            lambda: (v := self.call("GET", f"/orders/{order_id}"))["status"] != "running" and v, timeout_s
        )
        return view

    def processes(self) -> dict[int, str]:
        """pid -> command of every process that carries this fleet's data folder in its environment."""
        mark = f"FLEET_LOCAL__DATA_DIR={self.data}".encode()
        found: dict[int, str] = {}
        if not Path("/proc/self/environ").exists():
            pytest.skip("SKIPPED: who belongs to a fleet is read from /proc, which is not here")
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
        return found

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.lines.append(line.rstrip())
            self._new.put(line.rstrip())


def until(look: Callable[[], Any], timeout_s: float, every_s: float = 0.1) -> Any:
    """The first true answer of `look`; connection errors count as none. Raises AssertionError after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            if answer := look():
                return answer
        except (urllib.error.URLError, ConnectionError, TimeoutError) as error:
            last: object = error
        else:
            last = "nothing"
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s:g} s; the last look gave {last}")
        time.sleep(every_s)
