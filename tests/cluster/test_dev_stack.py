"""The development cluster: k8s/dev and the chart's environment for it, applied as they are, fit each other."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.cluster.client import Cluster, CommandFailed
from tests.cluster.release import CHART, NAME, SETTLE_S, Release, TemporalServer
from tests.cluster.standins.images import archives
from tests.image.build import IMAGE
from tests.local.dev_fleet import ORDER, ROOT, until
from tests.orders.trace import assert_one_whole_trace, new_trace, order_trace
from tests.parts.jaeger.server import Jaeger
from tests.parts.postgres import PostgresServer

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3600)]

STACK = ROOT / "k8s" / "dev"
ENVIRONMENT = Path(CHART, "environments", "dev.yaml")
PARTS = ("temporal", "postgresql", "jaeger")


@dataclass(frozen=True)
class DevStack:
    """What k8s/dev made in a namespace of the test's own, and the release that uses it from another one."""

    namespace: str
    shop: Release

    def ask_ledger(self, query: str) -> list[list[str]]:
        """The rows that psql in PostgreSQL's pod prints."""
        psql = ["exec", "deployment/postgresql", "--", "psql", "-U", "ledger", "-d", "ledger", "-At", "-c", query]
        said = self.shop.cluster.kubectl(*psql, namespace=self.namespace)
        return [line.split("|") for line in said.splitlines()]

    def jaeger(self) -> Jaeger:
        """The Jaeger of the cluster, asked by way of its Service."""
        found = Jaeger()
        found.query = f"{self.shop.base}/api/v1/namespaces/{self.namespace}/services/jaeger:query/proxy"
        return found


@pytest.fixture(scope="module")
def stack(image: Path, cluster: Cluster) -> Iterator[DevStack]:
    """Everything of k8s/dev, ready, and the chart on it, installed with its dev environment."""
    cluster.load_image(image)
    images = _load_stand_ins(cluster)
    with cluster.namespace() as beside, cluster.proxy() as base, cluster.namespace() as namespace:
        with _overlay(beside, images) as overlay:
            cluster.kubectl("apply", "-k", str(overlay))
        for part in PARTS:
            _wait_for(cluster, beside, f"deployment/{part}")
        values = _moved(beside)
        _install(cluster, namespace, values)
        temporal = values["temporal"]["address"]
        ledger = values["ledger"]["url"]
        # Neither is an address for this machine.
        shop = Release(cluster, namespace, TemporalServer("", temporal), PostgresServer("", ledger), base)
        yield DevStack(beside, shop)


def _load_stand_ins(cluster: Cluster) -> dict[str, str]:
    """The names that the cluster gives the stand-ins, by the images that k8s/dev names."""
    # Not pytest's own folder, which keeps what it holds for three runs: this is 500 MB.
    with tempfile.TemporaryDirectory() as folder:
        found = {}
        for name, archive in archives(Path(folder)).items():
            (found[name],) = cluster.load_image(archive)
        return found


@contextmanager
def _overlay(namespace: str, images: Mapping[str, str]) -> Iterator[Path]:
    """k8s/dev in another namespace and with stand-ins for its images, which are in no registry."""
    never = [{"op": "add", "path": "/spec/template/spec/containers/0/imagePullPolicy", "value": "Never"}]
    with tempfile.TemporaryDirectory() as folder:
        swapped = [
            {"name": name, "newName": new.rpartition(":")[0], "newTag": new.rpartition(":")[2]}
            for name, new in images.items()
        ]
        kustomization = {
            # kustomize takes no absolute paths.
            "resources": [os.path.relpath(STACK, Path(folder).resolve())],
            "namespace": namespace,
            "images": swapped,
            "patches": [{"target": {"kind": "Deployment"}, "patch": json.dumps(never)}],
        }
        Path(folder, "kustomization.yaml").write_text(json.dumps(kustomization))
        yield Path(folder)


def _wait_for(cluster: Cluster, namespace: str, deployment: str) -> None:
    """Waits until it is ready. Raises AssertionError with the end of its log."""
    try:
        cluster.kubectl("rollout", "status", deployment, "--timeout=170s", namespace=namespace)
    except CommandFailed as error:
        log = cluster.kubectl("logs", deployment, "--tail=20", namespace=namespace)
        raise AssertionError(f"{error}\n{log}") from error


def _moved(namespace: str) -> dict[str, dict[str, str]]:
    """The values of the environment that name k8s/dev's namespace, with `namespace` in its place.

    It is their only change: namespaces with fixed names may be somebody's, and two runs may meet on one cluster.
    """
    theirs = yaml.safe_load((STACK / "kustomization.yaml").read_text())["namespace"]
    whole = ENVIRONMENT.read_text()
    values = yaml.safe_load(whole.replace(f".{theirs}:", f".{namespace}:"))
    moved = {key: value for key, value in values.items() if value != yaml.safe_load(whole)[key]}
    assert set(moved) == {"temporal", "ledger", "env"}
    return moved


def _install(cluster: Cluster, namespace: str, moved: Mapping[str, object]) -> None:
    repository, tag = IMAGE.removeprefix("docker.io/library/").split(":")
    image = {"image": {"repository": repository, "tag": tag, "pullPolicy": "Never"}}
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump({**moved, **image}, file)
        file.flush()
        values = ["-f", str(ENVIRONMENT), "-f", file.name]
        cluster.helm("install", NAME, CHART, *values, "--wait", "--timeout=170s", namespace=namespace)


def test_an_order_is_done_by_the_pods_of_both_queues_and_all_of_it_is_one_trace(stack: DevStack) -> None:
    until(stack.shop.ready, 60)
    trace_id, headers = new_trace()
    stack.shop.call("POST", "/orders", {"order_id": "first", **ORDER}, headers)
    until(lambda: stack.shop.status("first") == "completed", SETTLE_S, 0.5)

    bodies = stack.ask_ledger("select activity, worker from body_starts where workflow_id = 'order-first'")
    done_by = {row[0]: row[1] for row in bodies}
    assert done_by["charge_payment"].startswith(f"{NAME}-payments-")
    assert done_by["schedule_shipment"].startswith(f"{NAME}-orders-")

    assert_one_whole_trace(trace_id, order_trace(stack.jaeger(), trace_id))
