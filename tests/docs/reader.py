"""A reader of the pages: a folder of their own, this project installed, a shell, and a Temporal server that runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.local.dev_fleet import until

BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Done:
    """A command that has ended; `text` is all it printed."""

    code: int
    text: str


class Background:
    """A command that stays; `code` is its exit code."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log = log

    @property
    def text(self) -> str:
        """What it printed so far."""
        return self._log.read_text()

    @property
    def code(self) -> int | None:
        return self.process.poll()

    def says(self, text: str, timeout_s: float = 60) -> str:
        """Wait until it printed `text`; all it printed. Raises AssertionError when it ends or stays silent."""
        try:
            until(lambda: text in self.text or self.code is not None, timeout_s)
        finally:
            assert text in self.text, f"no {text!r} (exit code {self.code}) in:\n{self.text}"
        return self.text

    def stop(self) -> int:
        """SIGTERM, as systemd, Kubernetes and most shells' scripts do; the exit code."""
        if self.code is None:
            # To the command alone: what it started is its own affair, as for a user.
            os.kill(self.process.pid, signal.SIGTERM)
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self) -> None:
        if self.code is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


class Reader:
    """Works in `folder`, with Temporal at `address`."""

    def __init__(self, folder: Path, address: str, settings: Mapping[str, str] | None = None) -> None:
        """`settings`: further variables."""
        self.folder = folder
        self.env = {
            # Not the options of the pytest that runs this: they would change what a reader's own prints.
            **{name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
            "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "VIRTUAL_ENV": str(BIN.parent),
            "UV_OFFLINE": "1",
            "UV_NO_CONFIG": "1",
            "PYTHONUNBUFFERED": "1",
            "TEMPORAL_ADDRESS": address,
            **(settings or {}),
        }
        self._logs = 0

    def write(self, name: str, text: str) -> Path:
        """A file, with what lies above it."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def run(self, command: str, timeout_s: float = 60) -> Done:
        """A line of shell, to its end."""
        done = subprocess.run(
            ["bash", "-c", command],
            check=False,
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_s,
        )
        return Done(done.returncode, done.stdout)

    @contextmanager
    def background(self, command: str) -> Iterator[Background]:
        """A line of shell that stays, for as long as the block."""
        self._logs += 1
        log = self.folder / f"background-{self._logs}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {command}"],
                cwd=self.folder,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        background = Background(process, log)
        try:
            yield background
        finally:
            background.kill()
