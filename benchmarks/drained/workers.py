"""The processes of `benchmarks.drain`: a Temporal server, and workers of either side."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.core.ports import free_port
from app.local.server import command
from benchmarks.drained.body import EVIDENCE, START_TO_CLOSE_S

HOST = "127.0.0.1"
SLOTS = 10
FLAG = "frontend.enableCancelWorkerPollsOnShutdown="
LEAVES_WITHIN_S = 120.0


@dataclass(frozen=True)
class Left:
    """How a worker ended, and how long after its SIGTERM."""

    code: int
    seconds: float


class Worker:
    """One process."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._told_at = 0.0

    @property
    def pid(self) -> int:
        return self._process.pid

    def terminate(self) -> None:
        self._told_at = time.monotonic()
        self._process.send_signal(signal.SIGTERM)

    def left(self) -> Left:
        """Waits for its end. Raises subprocess.TimeoutExpired."""
        code = self._process.wait(LEAVES_WITHIN_S)
        return Left(code, time.monotonic() - self._told_at)


class Starter:
    """Starts the workers of one side."""

    def __init__(self, side: str, folder: Path, address: str) -> None:
        """`side`: fleet or raw."""
        self._folder = folder
        self._made = 0
        self._command = [sys.executable, "-m", "benchmarks.drained.raw", address]
        if side == "fleet":
            self._command = [sys.executable, "-m", "app.worker.main", "serve"]
        self._env = {
            **os.environ,
            EVIDENCE: str(folder / "evidence"),
            "FLEET_TEMPORAL__ADDRESS": address,
            "FLEET_TEMPORAL__WORKER__PACKAGES": '["benchmarks.drained.app"]',
            "FLEET_TEMPORAL__WORKER__MAX_CONCURRENT_ACTIVITIES": str(SLOTS),
            "FLEET_TEMPORAL__ACTIVITIES__START_TO_CLOSE_TIMEOUT_S": str(START_TO_CLOSE_S),
        }

    def start(self) -> Worker:
        self._made += 1
        with (self._folder / f"worker-{self._made}.log").open("wb") as log:
            return Worker(
                subprocess.Popen(self._command, env=self._env, stdout=log, stderr=log, start_new_session=True)
            )


@contextmanager
def server(folder: Path, flag: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A server with the poll-cancel flag off or on, not yet ready: (host:port, process)."""
    port = free_port(HOST)
    line = [part for part in command(folder, port, free_port(HOST)) if not part.startswith(FLAG)]
    # The flag's option is left without its value: it gets this one.
    line.insert(line.index("--dynamic-config-value") + 1, f"{FLAG}{'true' if flag == 'on' else 'false'}")
    with (folder / "temporal.log").open("wb") as log:
        process = subprocess.Popen(line, stdout=log, stderr=log, start_new_session=True)
    try:
        yield f"{HOST}:{port}", process
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()
