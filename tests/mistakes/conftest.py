"""One worker process for the mistakes that show while workflows run, and a folder for those that show at start-up."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError, WorkflowHandle

from app.core.config import use
from app.core.config.model import Settings
from app.core.services.temporal.plugin import fleet_plugins
from tests.docs.reader import Background, Reader
from tests.mistakes.page import Section, sections

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 40
"""Bound of every wait; what is waited for comes within a second or two on a quiet machine."""


@pytest.fixture
def page(request: pytest.FixtureRequest) -> Iterator[Section]:
    """The section of the page that the test is of."""
    section = sections().get(request.param)
    assert section, f"docs/troubleshooting.md has no section {request.param!r}"
    section.shown = False
    yield section
    assert section.shown, "the test has not asked the page"


@pytest.fixture
def reader(tmp_path: Path, temporal_address: str) -> Reader:
    """An empty folder; what is written into `shop` is what a worker there finds."""
    return Reader(tmp_path, temporal_address, {"FLEET_TEMPORAL__WORKER__PACKAGES": '["shop"]'})


@pytest.fixture(scope="session")
def worker(tmp_path_factory: pytest.TempPathFactory, temporal_address: str) -> Iterator[Background]:
    """A worker process for tests/apps/mistakes."""
    settings = {
        "PYTHONPATH": str(ROOT),
        "FLEET_TEMPORAL__WORKER__PACKAGES": '["tests.apps.mistakes"]',
        "FLEET_TEMPORAL__ACTIVITIES__START_TO_CLOSE_TIMEOUT_S": "20",
    }
    reader = Reader(tmp_path_factory.mktemp("mistakes"), temporal_address, settings)
    with reader.background("python -m app.worker.main serve --drain-timeout 1") as worker:
        worker.says("serving mistakes")
        yield worker


class Caller:
    """Runs coroutines with a client, as a program that starts workflows does."""

    def __init__(self, address: str) -> None:
        self.address = address

    def __call__(self, body: Callable[[Client], Awaitable[Any]]) -> Any:
        async def main() -> Any:
            client = await Client.connect(self.address, plugins=fleet_plugins())
            async with asyncio.timeout(PATIENCE_S):
                return await body(client)

        return asyncio.run(main())

    def error(self, body: Callable[[Client], Awaitable[Any]]) -> str:
        """The error that `body` raises, with its causes. Raises AssertionError if it raises none."""
        try:
            result = self(body)
        except Exception as error:  # noqa: BLE001 - every kind of error is what is asked for
            return chain(error)
        raise AssertionError(f"no error, but {result!r}")

    def failed_workflow(self, body: Callable[[Client], Awaitable[WorkflowHandle[Any, Any]]]) -> str:
        """The failure, with its causes, of the workflow that `body` starts."""

        async def wait(client: Client) -> str:
            handle = await body(client)
            try:
                result = await handle.result()
            except WorkflowFailureError as error:
                return chain(error)
            raise AssertionError(f"it did not fail: {result!r}")

        return str(self(wait))

    def failed_task(self, body: Callable[[Client], Awaitable[WorkflowHandle[Any, Any]]]) -> str:
        """The message of the first failed workflow task of the workflow that `body` starts; then it is terminated."""

        async def look(client: Client) -> str:
            handle = await body(client)
            try:
                return await failed_task(handle)
            finally:
                if (await handle.describe()).status == WorkflowExecutionStatus.RUNNING:
                    await handle.terminate()

        return str(self(look))


async def failed_task(handle: WorkflowHandle[Any, Any]) -> str:
    """The message of its first failed workflow task, with its causes."""
    while True:
        for event in (await handle.fetch_history()).events:
            if event.HasField("workflow_task_failed_event_attributes"):
                failure = event.workflow_task_failed_event_attributes.failure
                return f"{failure.message} {failure.cause.message}"
        await asyncio.sleep(0.1)


@pytest.fixture
def caller(temporal_address: str) -> Caller:
    use(Settings.model_validate({"temporal": {"address": temporal_address}}))
    return Caller(temporal_address)


def new_id() -> str:
    return f"mistake-{uuid.uuid4()}"


def chain(error: BaseException | None) -> str:
    """An error with its causes, one a line."""
    lines = []
    while error is not None:
        lines.append(f"{type(error).__name__}: {error}")
        error = error.__cause__
    return "\n".join(lines)
