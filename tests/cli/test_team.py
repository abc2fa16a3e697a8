"""A team's own package is discovered, checked, served and deployed without a change of anything here."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from temporalio.client import Client

from app.core.services.temporal.plugin import fleet_plugins
from tests.charts.conftest import helm
from tests.charts.render import Helm
from tests.cli.fleet import fleet
from tests.cli.team import write_team

__all__ = ["helm"]


@pytest.fixture
def team(tmp_path: Path) -> Path:
    return write_team(tmp_path / "checkout")


def test_it_is_discovered_and_checked(team: Path) -> None:
    ran = fleet("check", cwd=team)
    assert (ran.code, ran.out) == (0, "2 queues, 1 workflow, 2 activities: workers can serve them\n")
    queues = fleet("queues", "--json", cwd=team).json
    assert [handler["name"] for handler in queues["bakery"]["workflows"]] == ["Bake"]
    assert queues["ovens"]["worker"]["max_concurrent_activities"] == 3
    (described,) = fleet("describe", "Bake", "--json", cwd=team).json
    assert described["doc"] == "Bakes bread."
    assert described["input"][0]["properties"]["loaves"]["type"] == "integer"


@pytest.fixture
def served(team: Path, temporal_address: str) -> Iterator[subprocess.Popen[str]]:
    """A worker of all the team's queues."""
    env = {**os.environ, "PYTHONPATH": str(team), "FLEET_TEMPORAL__ADDRESS": temporal_address}
    process = subprocess.Popen(
        [sys.executable, "-m", "app.worker.main", "serve"],
        cwd=team,
        env=env,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    yield process
    if process.poll() is None:
        process.kill()
    process.communicate()


def test_it_is_served(served: subprocess.Popen[str], temporal_address: str) -> None:
    async def bake() -> Any:
        client = await Client.connect(temporal_address, plugins=fleet_plugins())
        # By name: whoever starts it may have nothing of the team's code.
        return await client.execute_workflow("Bake", {"loaves": 2}, id=f"test-{uuid.uuid4()}", task_queue="bakery")

    assert asyncio.run(asyncio.wait_for(bake(), 60)) == {
        "loaves": 2,
        "places": ["1000 g on bakery", *["2 in the big oven on ovens"] * 2],
    }
    served.send_signal(signal.SIGTERM)
    _, log = served.communicate(timeout=60)
    assert served.returncode == 0, log
    assert "Traceback" not in log


def test_a_mistake_in_it_ends_the_worker_before_it_polls(team: Path) -> None:
    (team / "bakery/broken.py").write_text("import nowhere_to_be_found\n")
    env = {**os.environ, "PYTHONPATH": str(team)}
    done = subprocess.run(
        [sys.executable, "-m", "app.worker.main", "serve", "--queue", "ovens"],
        cwd=team,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "bakery/broken.py:1: module bakery.broken cannot be imported" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.charts
def test_it_is_deployed_from_its_manifest(team: Path, helm: Helm) -> None:
    ran = fleet("queues", "--manifest", "--image-repository", "registry.example/bakery", cwd=team)
    assert ran.code == 0
    values = {
        "image": {"repository": "registry.example/bakery", "tag": "1"},
        "temporal": {"address": "temporal:7233"},
        "queuesManifest": ran.out,
    }
    found = helm.template(values, environment="")
    assert set(found.workers()) == {"bakery", "ovens"}
    pools = {name: body["spec"] for name, body in found.of("WorkerPool").items()}
    ovens = next(spec for spec in pools.values() if spec["taskQueue"] == "ovens")
    assert ovens["taskTypes"] == ["activity"]
    assert ovens["slotsPerReplica"] == 3
    pod = found.workers()["ovens"]["spec"]["template"]["spec"]
    assert pod["containers"][0]["image"] == "registry.example/bakery:1"
    said = {each["name"]: each.get("value") for each in pod["containers"][0]["env"]}
    assert said["FLEET_TEMPORAL__WORKER__MANIFEST_DIGEST"] == yaml.safe_load(ran.out)["digest"]
    # The same code takes the digest that its chart rendered, and refuses the one of another.
    served = {"TEMPORAL__WORKER__MANIFEST_DIGEST": str(said["FLEET_TEMPORAL__WORKER__MANIFEST_DIGEST"])}
    assert fleet("check", cwd=team, **served).code == 0
