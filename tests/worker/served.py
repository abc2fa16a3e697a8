"""A `serve` process as a supervisor starts it, and a client to give it work. Real processes on a real server."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.service import RPCError

from app.core.config import use
from app.core.ports import free_port
from app.core.services.temporal.plugin import fleet_plugins
from tests.local.dev_fleet import until
from tests.worker.pools import lab_settings

COMMAND = (sys.executable, "-m", "app.worker.main", "serve")


class Served:
    """One `serve` process; its log is a file."""

    def __init__(
        self, folder: Path, settings: Mapping[str, str], *arguments: str, command: Sequence[str] = COMMAND
    ) -> None:
        self.port = free_port("127.0.0.1")
        self.log = folder / "worker.log"
        env = {
            **os.environ,
            "FLEET_TEMPORAL__WORKER__HEALTH_PORT": str(self.port),
            "FLEET_TEMPORAL__WORKER__PACKAGES": '["tests.apps.lab"]',
            "FLEET_TEMPORAL__WORKER__IDENTITY": "served",
            "FLEET_TEMPORAL__WORKER__POLLS_TIMEOUT_S": "0.5",
            "FLEET_LOCAL__DATA_DIR": str(folder),
            **{f"FLEET_{name}": value for name, value in settings.items()},
        }
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, *arguments],
                env=env,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def probe(self, path: str) -> tuple[int, dict[str, Any]]:
        """Status and body of a probe. Raises urllib.error.URLError while nobody listens."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def ready(self) -> None:
        until(lambda: self.probe("/readyz")[0] == 200, 30)

    def metrics(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
            return str(answer.read().decode())

    def in_flight(self, number: int) -> None:
        until(lambda: self.probe("/livez")[1]["in_flight"] == number, 15, 0.02)

    def signal(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def wait(self, timeout_s: float) -> int:
        return self.process.wait(timeout_s)

    def text(self) -> str:
        return self.log.read_text()


@pytest.fixture
def serve(tmp_path: Path, temporal_address: str) -> Iterator[Callable[..., Served]]:
    served: list[Served] = []

    def start(*arguments: str, command: Sequence[str] = COMMAND, **settings: str) -> Served:
        one = Served(tmp_path, {"TEMPORAL__ADDRESS": temporal_address, **settings}, *arguments, command=command)
        served.append(one)
        return one

    yield start
    for one in served:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()
    _end_started()


@contextmanager
def client(address: str) -> Iterator[Callable[[Callable[[Client], Awaitable[Any]]], Any]]:
    """Runs a coroutine with a client."""
    use(lab_settings(address))

    def call(work: Callable[[Client], Awaitable[Any]]) -> Any:
        async def main() -> Any:
            return await work(await Client.connect(address, plugins=fleet_plugins()))

        return asyncio.run(main())

    yield call


_started: list[tuple[str, str]] = []


def start(address: str, workflow: Any, argument: Any) -> str:
    """Start a run that ends with the test at the latest: what it leaves would be served in the next one."""
    workflow_id = f"test-{uuid.uuid4()}"
    with client(address) as call:
        call(lambda c: workflow.start_workflow(c, input=argument, id=workflow_id))
    _started.append((address, workflow_id))
    return workflow_id


def _end_started() -> None:
    async def end(c: Client, workflow_id: str) -> None:
        with suppress(RPCError):  # it has ended by itself
            await c.get_workflow_handle(workflow_id).terminate("the test is over")

    while _started:
        address, workflow_id = _started.pop()
        with client(address) as call:
            call(partial(end, workflow_id=workflow_id))


def result(address: str, workflow_id: str) -> Any:
    with client(address) as call:
        return call(lambda c: c.get_workflow_handle(workflow_id).result())


def attempts(address: str, workflow_id: str) -> list[int]:
    """The attempts of the activities that are pending."""

    async def look(c: Client) -> list[int]:
        described = await c.get_workflow_handle(workflow_id).describe()
        return [pending.attempt for pending in described.raw_description.pending_activities]

    with client(address) as call:
        return list(call(look))
