"""The sandbox: what the raw SDK refuses to workflow code, a worker of the fleet refuses too."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import subprocess
import sys
import uuid
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.worker import Replayer, Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxMatcher, SandboxRestrictions

from app.core.config import use
from app.core.config.model import Settings
from app.core.services.temporal.plugin import FleetPlugin, fleet_plugins
from app.worker.discovery import discover
from app.worker.sandbox import sandbox_problems
from tests.apps.above import ping
from tests.apps.above.clock import Clock
from tests.apps.forbidden import Forbidden
from tests.worker.pools import lab_settings, running_pools


def _listed(matcher: SandboxMatcher, module: str = "", path: str = "") -> Iterator[str]:
    """ "module:dotted.name" of everything that the SDK's default restrictions name and this Python has."""
    value = _value(module, path)
    if value is None and module:
        return
    names: set[str] = set(matcher.use)
    if "*" in names:
        names = {n for n in vars(value) if not n.startswith("_") and callable(getattr(value, n, None))}
    for name in sorted(names - set(matcher.exclude)):
        if getattr(value, name, None) is not None:
            yield f"{module}:{f'{path}.{name}' if path else name}"
    for name, child in matcher.children.items():
        below = f"{module}.{name}" if module else name
        if isinstance(_value(below, ""), ModuleType) and not path:
            yield from _listed(child, below)
        elif module:
            yield from _listed(child, module, f"{path}.{name}" if path else name)


def _value(module: str, path: str) -> Any:
    try:
        value: Any = importlib.import_module(module)
        for step in filter(None, path.split(".")):
            value = getattr(value, step)
    except (ImportError, AttributeError, ValueError):
        return None
    return value


def test_what_the_raw_sdk_refuses_is_refused(temporal_address: str) -> None:
    names = [name for name in _listed(SandboxRestrictions.invalid_module_members_default) if _is_function(name)]

    async def raw() -> list[str]:
        client = await Client.connect(temporal_address)
        async with Worker(client, task_queue="forbidden-raw", workflows=[Forbidden]):
            return await tried(client, "forbidden-raw")

    async def ours() -> list[str]:
        worker = {"packages": ["tests.apps.forbidden"]}
        settings = Settings.model_validate({"temporal": {"address": temporal_address, "worker": worker}})
        async with running_pools(settings, "forbidden") as client:
            return await tried(client, "forbidden")

    async def tried(client: Client, queue: str) -> list[str]:
        async with asyncio.timeout(60):
            return await client.execute_workflow(Forbidden.run, names, id=f"test-{uuid.uuid4()}", task_queue=queue)

    by_raw, by_ours = asyncio.run(raw()), asyncio.run(ours())
    assert {"datetime.now", "random.random", "open", "socket.socket", "time.sleep", "uuid4"} <= set(by_raw)
    assert "SDK's list: random:choice" in by_raw, "the SDK's own list was tried"
    assert [name for name in by_raw if name not in by_ours] == []


def _is_function(name: str) -> bool:
    """Whether it can be tried with an argument that it does not have, with no effect."""
    return inspect.isroutine(_value(*name.split(":")))


def test_an_activity_in_the_package_of_a_workflow_takes_nothing_from_its_sandbox(temporal_address: str) -> None:
    async def main() -> str:
        settings = lab_settings(temporal_address, worker={"packages": ["tests.apps.above"]})
        async with running_pools(settings, "above") as client:
            return await Clock.execute_workflow(client, input=3, id=f"test-{uuid.uuid4()}")

    assert asyncio.run(main()) == "refused, 3"


@pytest.mark.parametrize("name", ["tests", "tests.apps.above", "tests.apps.above.clock"])
def test_a_workflow_cannot_be_taken_out_of_the_sandbox_by_its_packages_name(name: str) -> None:
    worker = {"packages": ["tests.apps.above"], "passthrough_modules": ["numpy", name, "tests.apps.abo"]}
    settings = Settings.model_validate({"temporal": {"worker": worker}})
    (problem,) = sandbox_problems(discover(settings), settings, ["above"])
    assert str(problem).startswith(f"temporal.worker.passthrough_modules: {name} would be shared between runs, and")
    assert "workflow Clock (tests/apps/above/clock.py:" in str(problem)


def test_a_worker_and_a_replayer_of_the_sdk_run_our_workflows_with_nothing_but_the_plugin(
    temporal_address: str,
) -> None:
    use(lab_settings(temporal_address))

    async def main() -> str:
        client = await Client.connect(temporal_address, plugins=fleet_plugins())
        async with Worker(client, task_queue="plain", workflows=[Clock], activities=[ping]), asyncio.timeout(20):
            handle = await Clock.start_workflow(client, input=3, id=f"test-{uuid.uuid4()}", task_queue="plain")
            async with Worker(client, task_queue="above", activities=[ping]):
                result = await handle.result()
        plugins: Any = fleet_plugins()  # for clients, workers and replayers alike
        await Replayer(workflows=[Clock], plugins=plugins).replay_workflow(await handle.fetch_history())
        return result

    assert asyncio.run(main()) == "refused, 3"


def test_the_plugin_shares_every_module_of_ours_that_a_workflow_imports() -> None:
    listing = "import sys, app.worker.workflows.base; print(*[n for n, m in sys.modules.items() if n[:4] == 'app.'])"
    imported = subprocess.run([sys.executable, "-c", listing], capture_output=True, text=True, check=True).stdout
    packages = {"app.worker", "app.worker.workflows"}
    runner = FleetPlugin().runner()
    assert isinstance(runner, SandboxedWorkflowRunner)
    shared = runner.restrictions.passthrough_modules
    left = [n for n in imported.split() if not any(f"{n}.".startswith(f"{each}.") for each in shared)]
    assert "app.worker.workflows.base" in imported
    assert set(left) == packages, "new modules belong into the plugin's list"
