"""Settings of the worker process, seen in what real `serve` processes say and how they end."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.enums.v1 import PendingActivityState
from temporalio.client import Client

from app.core.config import use
from app.core.config.model import Settings
from app.core.exit import ExitCode
from app.core.ports import free_port
from app.core.services.temporal.plugin import fleet_plugins
from tests.apps.lab import workflows as lab
from tests.local.dev_fleet import until
from tests.settings.case import SIDES, case, check, environment

PORTS = (free_port("127.0.0.1"), free_port("127.0.0.2"))

DRAIN = (
    case("temporal.worker.drain_timeout_s", 0.5, 0.75, seen=("0.5 s for the work", "0.75 s for the work")),
    case("temporal.worker.unwind_timeout_s", 0.125, 0.375, seen=("the budget of 0.625 s", "the budget of 1.125 s")),
    case("temporal.worker.polls_timeout_s", 0.1, 0.15, seen=("polls have up to 0.1 s", "polls have up to 0.15 s")),
    case("temporal.worker.flush_timeout_s", 0.25, 0.3, seen=("not sent within 0.25 s", "not sent within 0.3 s")),
    case("temporal.worker.health_host", "127.0.0.1", "127.0.0.2"),
    case("temporal.worker.health_port", *PORTS),
)
REFUSALS = (
    case("temporal.worker.termination_grace_s", 72, 71, seen=(ExitCode.CANNOT_CONNECT, ExitCode.USAGE)),
    case("temporal.worker.manifest_digest", "", "of-another-image", seen=(ExitCode.CANNOT_CONNECT, ExitCode.USAGE)),
)
PACKAGES = (
    case(
        "temporal.worker.packages",
        ["tests.apps.lab"],
        ["tests.apps.mails"],
        seen=(["lab", "lab-other"], ["mails"]),
    ),
)
CASES = (*DRAIN[1:], *REFUSALS, *PACKAGES)
"""The drain's own timeout is proven in `test_worker.py` as well."""


def serve(folder: Path, variables: Mapping[str, str], *arguments: str) -> tuple[subprocess.Popen[bytes], Path]:
    env = {**os.environ, "FLEET_TEMPORAL__WORKER__PACKAGES": '["tests.apps.lab"]', **variables}
    path = folder / "log"
    with path.open("wb") as log:
        argv = [sys.executable, "-m", "app.worker.main", "serve", *arguments]
        return subprocess.Popen(argv, env=env, stdout=log, stderr=log, start_new_session=True), path


@pytest.mark.parametrize("side", SIDES)
def test_a_drain_keeps_its_budget_and_the_probes_their_place(temporal_address: str, tmp_path: Path, side: int) -> None:
    # Spans for a collector that takes the connection and never answers: the flush runs into its limit.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        tracing = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{silent.getsockname()[1]}"}
        process, log = serve(
            tmp_path, {"FLEET_TEMPORAL__ADDRESS": temporal_address, **tracing, **environment(DRAIN, side)}
        )
        try:
            until(lambda: "serving lab" in log.read_text(), 60)
            where = re.findall(r"health and metrics on (\S+):(\d+)", log.read_text())[0]
            with socket.create_connection((where[0], int(where[1])), timeout=10):
                pass
            asyncio.run(_busy(temporal_address))
            process.send_signal(signal.SIGTERM)
            process.wait(60)
        finally:
            process.kill()
    said = log.read_text()
    check(
        DRAIN,
        side,
        {
            "temporal.worker.drain_timeout_s": _said(said, r"[\d.]+ s for the work"),
            "temporal.worker.unwind_timeout_s": _said(said, r"the budget of [\d.]+ s"),
            "temporal.worker.polls_timeout_s": _said(said, r"polls have up to [\d.]+ s"),
            "temporal.worker.flush_timeout_s": _said(said, r"not sent within [\d.]+ s"),
            "temporal.worker.health_host": where[0],
            "temporal.worker.health_port": int(where[1]),
        },
    )


async def _busy(address: str) -> None:
    """Give the worker a body that does not let itself be cancelled."""
    use(Settings())
    handle = await lab.Swallows.start_workflow(
        await Client.connect(address, plugins=fleet_plugins()), input=30.0, id=uuid.uuid4().hex
    )
    started = PendingActivityState.PENDING_ACTIVITY_STATE_STARTED
    async with asyncio.timeout(30):
        while not any(a.state == started for a in (await handle.describe()).raw_description.pending_activities):
            await asyncio.sleep(0.05)


def _said(text: str, pattern: str) -> str:
    found = re.search(pattern, text)
    assert found, f"no {pattern!r} in:\n{text}"
    return found[0]


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("each", REFUSALS, ids=lambda each: each.key.rsplit(".", 1)[1])
def test_what_does_not_fit_is_refused_before_anything_polls(tmp_path: Path, each: Any, side: int) -> None:
    address = {"FLEET_TEMPORAL__ADDRESS": f"127.0.0.1:{free_port('127.0.0.1')}"}
    process, _ = serve(tmp_path, {**address, **environment([each], side)}, "--connect-timeout", "0.1")
    check([each], side, {each.key: process.wait(60)})


def test_the_digest_of_the_own_registry_is_not_refused(tmp_path: Path) -> None:
    """Or the refusal above would say nothing."""
    manifest = subprocess.run(
        [sys.executable, "-m", "app.cli", "queues", "--manifest"],
        env={**os.environ, "FLEET_TEMPORAL__WORKER__PACKAGES": '["tests.apps.lab"]'},
        capture_output=True,
        check=True,
        text=True,
        timeout=60,
    ).stdout
    digest = {"FLEET_TEMPORAL__WORKER__MANIFEST_DIGEST": re.findall(r"sha256:\w+", manifest)[0]}
    address = {"FLEET_TEMPORAL__ADDRESS": f"127.0.0.1:{free_port('127.0.0.1')}"}
    process, log = serve(tmp_path, {**address, **digest}, "--connect-timeout", "0.1")
    assert process.wait(60) == ExitCode.CANNOT_CONNECT, log.read_text()


@pytest.mark.parametrize("side", SIDES)
def test_queues_are_those_of_the_packages(side: int) -> None:
    listed = subprocess.run(
        [sys.executable, "-m", "app.cli", "queues", "--json"],
        env={**os.environ, **environment(PACKAGES, side)},
        capture_output=True,
        check=True,
        timeout=60,
    )
    check(PACKAGES, side, {"temporal.worker.packages": sorted(json.loads(listed.stdout))})
