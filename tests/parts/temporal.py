"""A real Temporal dev server for the tests that need one without the rest of the fleet."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from temporalio.client import Client

from app.core.ports import free_port
from app.local.server import command

READY_TIMEOUT_S = 30

# From util-linux: the kernel then ends the server with the thread that started it, even when that is killed.
_TIED = ["setpriv", "--pdeathsig", "KILL", "--"] if shutil.which("setpriv") else []


@pytest.fixture(scope="session")
def temporal_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """host:port of a server that lives as long as the test session."""
    folder = tmp_path_factory.mktemp("temporal")
    address = f"127.0.0.1:{(port := free_port('127.0.0.1'))}"
    process = start_server(folder, port)
    try:
        asyncio.run(ready(address, process, folder / "log"))
        yield address
    finally:
        stop_server(process)


@contextmanager
def own_server(
    folder: Path, *dynamic_config: str, program: Path | None = None
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A server that a test may stop, freeze or configure: (host:port, process); `dynamic_config` as key=value."""
    process = start_server(folder, (port := free_port("127.0.0.1")), *dynamic_config, program=program)
    try:
        asyncio.run(ready(address := f"127.0.0.1:{port}", process, folder / "log"))
        yield address, process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            stop_server(process)


def start_server(folder: Path, port: int, *dynamic_config: str, program: Path | None = None) -> subprocess.Popen[bytes]:
    """Start a server with its data in `folder`; it leads a session of its own. Call it from a thread that stays.

    `program`: a `temporal` of another version than the installed one.
    """
    installed, *arguments = command(folder, port, free_port("127.0.0.1"))
    line = [*_TIED, str(program or installed), *arguments]
    for value in dynamic_config:
        line += ["--dynamic-config-value", value]
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(line, stdout=log, stderr=log, start_new_session=True)


def freeze(process: subprocess.Popen[bytes]) -> None:
    """Stop a server's threads, all of them by the time this returns; SIGCONT lets them go on."""
    process.send_signal(signal.SIGSTOP)
    os.waitpid(process.pid, os.WUNTRACED)


def stop_server(process: subprocess.Popen[bytes]) -> None:
    """Stop a server that `start_server` started."""
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


async def ready(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + READY_TIMEOUT_S
    while True:
        try:
            client = await Client.connect(address)
            await client.count_workflows()
        except Exception as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the Temporal server is not ready:\n{log.read_text()[-2000:]}") from error
            await asyncio.sleep(0.1)
        else:
            return
