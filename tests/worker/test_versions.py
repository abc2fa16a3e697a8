"""Worker Versioning: a build that is not current gets no work, and says so until it is. Real server, real command."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client, WorkflowExecutionStatus

from app.core.config.temporal import TemporalSettings
from app.worker.versions import remedy
from tests.apps.versioned import Greets, GreetsBack
from tests.local.dev_fleet import until
from tests.worker.served import Served, client, result, start

PACKAGES = '["tests.apps.versioned"]'


@pytest.mark.parametrize("versioning", ["pinned", "auto_upgrade"])
def test_a_build_that_is_not_current_says_so_until_it_is(
    serve: Callable[..., Served], temporal_address: str, versioning: str
) -> None:
    deployment = f"shop-{uuid.uuid4().hex[:8]}"
    served = serve(
        "--queue",
        "versioned",
        TEMPORAL__WORKER__PACKAGES=PACKAGES,
        TEMPORAL__WORKER__VERSIONING=versioning,
        TEMPORAL__WORKER__DEPLOYMENT_NAME=deployment,
        TEMPORAL__WORKER__BUILD_ID="v1",
        TEMPORAL__WORKER__RESTARTS="0",
    )
    served.ready()  # although it gets no work: a rollout makes a build current when its pods are ready
    workflow_id = start(temporal_address, Greets, "you")
    sentence = f"build v1 of deployment {deployment} gets no new work: it is not current, no build of it is"
    until(lambda: sentence in served.text(), 15)
    status, body = served.probe("/readyz")
    assert (status, body["detail"]) == (200, f"ok, but {sentence}")
    assert "fleet_worker_build_current 0.0" in served.metrics()

    with client(temporal_address) as call:
        state = call(lambda c: c.get_workflow_handle(workflow_id).describe())
        assert (state.status, state.history_length) == (WorkflowExecutionStatus.RUNNING, 2), "started, and no more"

    command = re.findall(r": (temporal worker deployment .*)", served.text())[-1]
    _run(command)
    assert result(temporal_address, workflow_id) == "hello you"
    until(lambda: "build v1 is current and gets new work" in served.text(), 15)
    assert served.probe("/readyz")[1]["detail"] == "ok"
    assert "fleet_worker_build_current 1.0" in served.metrics()
    assert _behavior(temporal_address, workflow_id) == {"pinned": 1, "auto_upgrade": 2}[versioning]
    served.signal(signal.SIGTERM)
    assert served.wait(20) == 0


def test_the_line_is_repeated_and_names_the_build_that_is_current(
    serve: Callable[..., Served], temporal_address: str
) -> None:
    deployment = f"shop-{uuid.uuid4().hex[:8]}"
    settings = {
        "TEMPORAL__WORKER__PACKAGES": PACKAGES,
        "TEMPORAL__WORKER__VERSIONING": "pinned",
        "TEMPORAL__WORKER__DEPLOYMENT_NAME": deployment,
    }
    old = serve("--queue", "versioned", TEMPORAL__WORKER__BUILD_ID="v1", **settings)
    old.ready()
    line = r": (temporal worker deployment .*)"
    until(lambda: re.findall(line, old.text()), 15)
    _run(re.findall(line, old.text())[-1])
    until(lambda: "build v1 is current and" in old.text(), 15)
    old.signal(signal.SIGTERM)
    assert old.wait(20) == 0

    new = serve("--queue", "versioned", TEMPORAL__WORKER__BUILD_ID="v2", **settings)
    sentence = f"build v2 of deployment {deployment} gets no new work: it is not current, build v1 is"
    until(lambda: new.text().count(sentence) >= 2, 40)
    assert len(re.findall(line, new.text())) == new.text().count("app.worker.versions: "), "nothing else is said"


def test_workers_without_a_version_say_that_a_build_took_their_work(
    serve: Callable[..., Served], temporal_address: str
) -> None:
    settings = {
        "TEMPORAL__WORKER__PACKAGES": PACKAGES,
        "TEMPORAL__WORKER__DEPLOYMENT_NAME": f"shop-{uuid.uuid4().hex[:8]}",
    }
    old = serve(
        "--queue", "versioned-back", TEMPORAL__WORKER__VERSIONING="pinned", TEMPORAL__WORKER__BUILD_ID="v1", **settings
    )
    line = r": (temporal worker deployment .*)"
    until(lambda: re.findall(line, old.text()), 30)
    _run(re.findall(line, old.text())[-1])
    old.signal(signal.SIGTERM)
    assert old.wait(20) == 0

    back = serve("--queue", "versioned-back", **settings)  # versioning is off again
    until(lambda: "workers without a version get no new work: build v1 of deployment" in back.text(), 30)
    workflow_id = start(temporal_address, GreetsBack, "you")
    _run(re.findall(line, back.text())[-1])
    assert result(temporal_address, workflow_id) == "hello you"


def test_without_versioning_nothing_is_said(serve: Callable[..., Served]) -> None:
    served = serve("--queue", "lab-other")
    served.ready()
    served.signal(signal.SIGTERM)
    assert served.wait(20) == 0
    assert "app.worker.versions" not in served.text()


def _run(command: str) -> None:
    """The command as it was logged, with the `temporal` of this environment."""
    program, *words = shlex.split(command)
    done = subprocess.run([str(Path(sys.executable).parent / program), *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def _behavior(address: str, workflow_id: str) -> Any:
    async def look(c: Client) -> Any:
        described = await c.get_workflow_handle(workflow_id).describe()
        return described.raw_description.workflow_execution_info.versioning_info.behavior

    with client(address) as call:
        return call(look)


ACCESS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "certificates": (
        {"tls": {"server_ca_file": "a b/ca.crt", "client_cert_file": "c.crt", "client_key_file": "c.key"}},
        ["--tls", "--tls-ca-path", "a b/ca.crt", "--tls-cert-path", "c.crt", "--tls-key-path", "c.key"],
    ),
    "texts": (
        {"tls": {"client_cert_data": "PEM", "client_key_data": "sesame", "server_name": "t"}},
        ["--tls", "--tls-cert-data", "PEM-C", "--tls-key-data", "PEM-K", "--tls-server-name", "t"],
    ),
    "an API key of a file": ({"api_key_file": "key file"}, ["--tls", "--api-key", "from the file"]),
    "an API key": ({"api_key": "sesame", "tls": {"enabled": False}}, ["--tls=false", "--api-key", "KEY"]),
    "a header": ({"grpc_metadata": {"x-team": "sesame"}}, ["--grpc-meta", "x-team=TEAM"]),
    "nothing": ({}, []),
}


@pytest.mark.parametrize("case", ACCESS)
def test_the_command_reaches_a_server_with_tls_and_keys_and_shows_no_secret(tmp_path: Path, case: str) -> None:
    given, words = ACCESS[case]
    (tmp_path / "key file").write_text("from the file\n")
    variables = {
        "TEMPORAL_TLS_CLIENT_CERT_DATA": "PEM-C",
        "TEMPORAL_TLS_CLIENT_KEY_DATA": "PEM-K",
        "TEMPORAL_API_KEY": "KEY",
        "TEMPORAL_GRPC_META_X_TEAM": "TEAM",
    }
    command = remedy(TemporalSettings.model_validate(given))
    assert "sesame" not in command
    spelled = ["/bin/sh", "-c", command.replace("temporal ", "printf '%s\\n' ", 1)]
    read = subprocess.run(spelled, cwd=tmp_path, env=variables, capture_output=True, text=True).stdout.splitlines()
    assert read[read.index("--yes") + 1 :] == words
    options = [str(Path(sys.executable).parent / "temporal"), "options"]
    known = subprocess.run(options, capture_output=True, text=True, check=True, timeout=30).stdout
    assert all(f"{word.partition('=')[0]} " in known for word in words if word.startswith("--"))
