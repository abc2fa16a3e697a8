"""`fleet check`: all that is wrong, without a worker and without a server."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from app.core.ports import free_port
from tests.cli.fleet import ROOT, fleet

OUTPUT: dict[str, Any] = {"capture_output": True, "text": True, "timeout": 60, "check": False}

GOOD = """
    from temporalio.common import VersioningBehavior
    from app.worker.registry import activity_defn, workflow_defn
    from app.worker.workflows.base import BaseWorkflow

    @activity_defn(queue="team")
    async def act(amount: int) -> int:
        return amount

    @workflow_defn(queue="teams", versioning_behavior=VersioningBehavior.PINNED)
    class Good(BaseWorkflow[int, int]):
        async def run(self, input: int) -> int:
            return input
"""
DICE = """
    import random
    from app.worker.registry import workflow_defn
    from app.worker.workflows.base import BaseWorkflow

    SEED = {call}

    @workflow_defn(queue="teams")
    class {name}(BaseWorkflow[int, int]):
        async def run(self, input: int) -> int:
            return input
"""


@pytest.fixture
def team(tmp_path: Path) -> Path:
    """A folder with the package `team`, which is good, and its config.yaml."""
    (tmp_path / "team").mkdir()
    (tmp_path / "team/__init__.py").write_text(textwrap.dedent(GOOD))
    (tmp_path / "config.yaml").write_text("temporal: {worker: {packages: [team]}}\n")
    return tmp_path


def add(team: Path, name: str, text: str) -> None:
    (team / "team" / f"{name}.py").write_text(textwrap.dedent(text))


def test_good_code_passes_and_says_what_was_looked_at(team: Path) -> None:
    ran = fleet("check", cwd=team)
    assert (ran.code, ran.err) == (0, "")
    assert "2 queues, 1 workflow, 1 activity: workers can serve them" in ran.out
    assert 'warning: queue "team" holds only activity act' in ran.out
    assert "Good asks for versioning_behavior PINNED, and temporal.worker.versioning is off" in ran.out
    report = fleet("check", "--json", cwd=team, TEMPORAL__WORKER__VERSIONING="pinned").json
    assert report["ok"] is True
    assert "versioning" not in str(report["warnings"]), "the behaviour means something now"


def test_every_workflow_that_the_sandbox_refuses_is_told_with_its_line(team: Path) -> None:
    add(team, "one", DICE.format(call="random.random()", name="One"))
    add(team, "two", DICE.format(call="random.randint(1, 6)", name="Two"))
    add(team, "three", "import nowhere_to_be_found\n")
    ran = fleet("check", "--json", cwd=team)
    assert ran.code == 2
    assert [(problem["where"], problem["what"].partition(":")[0]) for problem in ran.json["problems"]] == [
        ("team/three.py:1", "module team.three cannot be imported"),
        ("team/one.py:6", "workflow One cannot be imported in the sandbox"),
        ("team/two.py:6", "workflow Two cannot be imported in the sandbox"),
    ]
    assert ran.json["ok"] is False
    assert ran.json["workflows"] == 3, "what could be imported was looked at"


def test_settings_that_are_wrong_are_told_in_the_form_that_was_asked_for(team: Path) -> None:
    ran = fleet("check", "--json", cwd=team, TEMPORAL__WORKER__HEALTH_PORT="x")
    assert ran.code == 2
    assert ran.json["ok"] is False
    assert ran.json["problems"][0]["where"] == "FLEET_TEMPORAL__WORKER__HEALTH_PORT"
    ran = fleet("check", cwd=team, QUEUES='{"temas": {}}')
    assert ran.code == 2
    assert 'Did you mean "teams"?' in ran.out


def test_the_server_is_asked_on_request(team: Path, temporal_address: str) -> None:
    ran = fleet("check", "--server", cwd=team, TEMPORAL__ADDRESS=temporal_address)
    assert ran.code == 0
    assert f"Temporal at {temporal_address} answers, and has the namespace default" in ran.out
    ran = fleet("check", "--server", "--json", cwd=team, TEMPORAL__ADDRESS=temporal_address, TEMPORAL__NAMESPACE="nons")
    assert ran.code == 4
    assert "nons" in ran.json["server_problem"]
    ran = fleet("check", "--server", cwd=team, TEMPORAL__ADDRESS=f"127.0.0.1:{free_port('127.0.0.1')}")
    assert ran.code == 4
    assert "nothing listens there" in ran.out
    add(team, "three", "import nowhere_to_be_found\n")
    ran = fleet("check", "--server", cwd=team, TEMPORAL__ADDRESS=f"127.0.0.1:{free_port('127.0.0.1')}")
    assert ran.code == 2, "what is wrong here comes first"
    assert "nothing listens there" in ran.out
    assert "nowhere_to_be_found" in ran.out


def test_a_build_that_gets_no_work_is_warned_of(team: Path, temporal_address: str) -> None:
    build = {"TEMPORAL__WORKER__VERSIONING": "pinned", "TEMPORAL__WORKER__BUILD_ID": "never-made-current"}
    ran = fleet("check", "--server", cwd=team, TEMPORAL__ADDRESS=temporal_address, **build)
    assert ran.code == 0
    assert "warning: build never-made-current of deployment worker-fleet gets no new work" in ran.out
    assert "Make it current: temporal worker deployment set-current-version" in ran.out


LONG = """
    from datetime import timedelta
    from app.worker.registry import activity_defn

    @activity_defn(queue="team", start_to_close_timeout=timedelta(seconds=90), on_drain="finish")
    async def act(amount: int) -> int:
        return amount
"""


def test_a_promise_that_the_drain_breaks_is_refused_by_all_commands_and_the_worker(team: Path) -> None:
    add(team, "__init__", LONG)
    fact = 'team/__init__.py:5: activity act on queue "team" promises on_drain="finish", but it may take 90 s'
    for command in (["check"], ["queues"], ["queues", "--manifest"]):
        ran = fleet(*command, cwd=team)
        assert ran.code == 2, command
        assert fact in ran.out + ran.err
    worker = [sys.executable, "-m", "app.worker.main", "serve"]
    done = subprocess.run(worker, cwd=team, env={**os.environ, "PYTHONPATH": str(ROOT)}, **OUTPUT)
    assert done.returncode == 2
    assert fact in done.stderr
    ran = fleet("check", cwd=team, QUEUES='{"team": {"worker": {"drain_timeout_s": 120}}}')
    assert (ran.code, ran.out) == (0, "1 queue, 0 workflows, 1 activity: workers can serve them\n")


def test_activities_that_promise_nothing_are_one_line(team: Path) -> None:
    add(team, "more", LONG.replace("act(", "more(").replace(', on_drain="finish"', ""))
    told = [line for line in fleet("check", cwd=team).out.splitlines() if "drain" in line]
    assert len(told) == 1
    assert "act (queue team), more (queue team) may take longer (start_to_close_timeout 90 to 1200 s)" in told[0]


@pytest.mark.parametrize("command", ["queues", "describe", "check", "dev"])
def test_help_shows_examples(command: str) -> None:
    ran = fleet(command, "--help")
    assert ran.code == 0
    assert f"examples:\n  fleet {command}" in ran.out
