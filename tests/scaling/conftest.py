"""A Temporal server that a test may stop."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.core.ports import free_port
from tests.parts.temporal import start_server, stop_server

from .work import connect


@dataclass(frozen=True)
class OwnServer:
    """`process` leads a process group of its own."""

    address: str
    process: subprocess.Popen[bytes]


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[OwnServer]:
    port = free_port("127.0.0.1")
    server = OwnServer(f"127.0.0.1:{port}", start_server(tmp_path, port))
    try:
        asyncio.run(_ready(server.address))
        yield server
    finally:
        stop_server(server.process)


async def _ready(address: str) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                await (await connect(address)).count_workflows()
            except RuntimeError:
                await asyncio.sleep(0.1)
            else:
                return
