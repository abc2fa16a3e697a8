"""The fleet on a real Kubernetes: installed by helm, orders done by pods, scaled, pinned, held, and gone again."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from app.core.ports import free_port
from app.local.server import command
from tests.cluster.client import Cluster
from tests.image.build import IMAGE
from tests.local.dev_fleet import ORDER, ROOT, until
from tests.parts.postgres import PostgresServer, postgres_server

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3600)]

RELEASE = "shop"
SETTLE_S = 120.0


@dataclass(frozen=True)
class Shop:
    """One installed release, with its Temporal and PostgreSQL on this machine."""

    cluster: Cluster
    namespace: str
    api: str
    ledger: str

    def kubectl(self, *args: str) -> str:
        return self.cluster.kubectl(*args, namespace=self.namespace)

    def pool(self, name: str) -> dict[str, Any]:
        """The status of a WorkerPool."""
        found: dict[str, Any] = json.loads(self.kubectl("get", "wp", name, "-o", "json"))
        return found.get("status") or {}

    def events(self, pool: str) -> list[str]:
        """`Reason message` of the Events on a pool."""
        found = self.kubectl("get", "events", "-o", "json", f"--field-selector=involvedObject.name={pool}")
        ours = [e for e in json.loads(found)["items"] if e["involvedObject"]["kind"] == "WorkerPool"]
        return [f"{event['reason']} {event['message']}" for event in ours]

    def place(self, order_id: str) -> None:
        self.call("POST", "/orders", {"order_id": order_id, **ORDER})

    def status(self, order_id: str) -> str:
        return str(self.call("GET", f"/orders/{order_id}")["status"])

    def call(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.api + path, method=method, data=data, headers={"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=15) as answer:
            view: dict[str, Any] = json.load(answer)
            return view

    def bodies(self) -> list[tuple[str, str, str, int]]:
        """(order, activity, worker, attempt) of every activity body that was started."""
        with create_engine(self.ledger).connect() as ledger:
            rows = ledger.execute(text("select workflow_id, activity, worker, attempt from body_starts"))
            return [(row[0], row[1], row[2], row[3]) for row in rows]


@pytest.fixture(scope="module")
def temporal_for_pods(cluster: Cluster) -> Iterator[str]:
    """host:port of a Temporal server that pods reach."""
    if cluster.host_address is None:
        pytest.skip("pods cannot reach this machine: set FLEET_TEST_HOST_ADDRESS")
    port = free_port("127.0.0.1")
    folder = Path(tempfile.mkdtemp(prefix="fleet-temporal-"))
    line = command(folder, port, free_port("127.0.0.1"))
    line[line.index("--ip") + 1] = "0.0.0.0"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(line, stdout=log, stderr=log, start_new_session=True)
    try:
        yield f"{cluster.host_address}:{port}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def postgres_for_pods(cluster: Cluster) -> Iterator[PostgresServer]:
    with postgres_server(cluster.host_address or "127.0.0.1") as server:
        yield server


@pytest.fixture(scope="module")
def shop(image: Path, cluster: Cluster, temporal_for_pods: str, postgres_for_pods: PostgresServer) -> Iterator[Shop]:
    """The example's fleet under Pod Security "restricted", with few slots and a short window."""
    cluster.load_image(image)
    repository, tag = IMAGE.removeprefix("docker.io/library/").split(":")
    with cluster.namespace() as namespace:
        values = {
            "image.repository": repository,
            "image.tag": tag,
            "image.pullPolicy": "Never",
            "temporal.address": temporal_for_pods,
            "ledger.url": postgres_for_pods.for_pods,
            "api.enabled": "true",
            "workerDefaults.scaleDown.stabilizationWindowSeconds": "5",
            "workerDefaults.scaleDown.maxPercent": "100",
            "workerDefaults.maxReplicas": "3",
            "workerDefaults.slots": "5",
        }
        settings = [part for key, value in values.items() for part in ("--set", f"{key}={value}")]
        chart = str(ROOT / "charts/worker-fleet")
        cluster.helm("install", RELEASE, chart, *settings, "--wait", "--timeout=170s", namespace=namespace)
        service = cluster.kubectl(
            "get", "service", f"{RELEASE}-fleet-api", "-o", "jsonpath={.spec.clusterIP}", namespace=namespace
        )
        yield Shop(cluster, namespace, f"http://{service}", postgres_for_pods.url)


def test_an_order_through_the_service_is_done_by_the_pods_of_both_queues(shop: Shop) -> None:
    until(lambda: shop.call("GET", "/readyz")["ok"], 30)
    shop.place("first")
    until(lambda: shop.status("first") == "completed", SETTLE_S, 0.5)
    done_by = {activity: worker for order, activity, worker, _ in shop.bodies() if order == "order-first"}
    assert done_by["charge_payment"].startswith(f"{RELEASE}-payments-")
    assert done_by["schedule_shipment"].startswith(f"{RELEASE}-orders-")


def test_the_status_of_a_pool_says_what_temporal_knows(shop: Shop) -> None:
    until(lambda: shop.pool("orders").get("reason") == "AtMinimum", SETTLE_S, 0.5)
    status = shop.pool("orders")
    assert (status["mode"], status["replicas"], status["desiredReplicas"]) == ("Automatic", 1, 1)
    assert status["slots"] == "0/5"
    assert {c["type"]: c["status"] for c in status["conditions"]}["DemandKnown"] == "True"


def test_100_orders_raise_the_replicas_and_each_completes_once(shop: Shop) -> None:
    for number in range(100):
        shop.place(f"burst-{number}")
    until(lambda: shop.pool("payments")["replicas"] > 1, 60, 0.3)
    until(lambda: all(shop.status(f"burst-{n}") == "completed" for n in range(100)), 180, 1.0)
    bodies = [body for body in shop.bodies() if body[0].startswith("order-burst-")]
    assert len(bodies) == len({body[:2] for body in bodies}) == 300
    assert max(attempt for *_, attempt in bodies) == 1
    until(lambda: shop.pool("payments")["replicas"] == 1, SETTLE_S, 0.5)
    events = shop.events("payments")
    assert any(event.startswith(("BacklogWaiting 1 ->", "AtMaximum 1 ->", "WaitTooLong 1 ->")) for event in events)
    assert any(event.startswith("DemandFell") for event in events)


def test_a_pin_holds_until_it_is_taken_away(shop: Shop) -> None:
    shop.kubectl("scale", "wp/orders", "--replicas=2")
    until(lambda: shop.pool("orders")["mode"] == "Pinned" and shop.pool("orders")["replicas"] == 2, 30, 0.5)
    assert "kubectl patch wp orders" in shop.pool("orders")["message"]
    shop.kubectl("patch", "wp", "orders", "--type=merge", "-p", '{"spec":{"replicas":null}}')
    until(lambda: shop.pool("orders")["mode"] == "Automatic" and shop.pool("orders")["replicas"] == 1, 60, 0.5)


def test_a_deployment_that_is_scaled_by_hand_is_held_and_then_taken_back(shop: Shop) -> None:
    shop.kubectl("scale", f"deployment/{RELEASE}-orders", "--replicas=3")
    until(lambda: shop.pool("orders")["mode"] == "Held", 30, 0.3)
    assert shop.pool("orders")["message"].startswith("kubectl set 3; held for ")
    assert any(event.startswith("Held kubectl set 3") for event in shop.events("orders"))
    shop.kubectl("patch", "wp", "orders", "--type=merge", "-p", '{"spec":{"holdSeconds":5}}')
    until(lambda: shop.pool("orders")["mode"] == "Automatic" and shop.pool("orders")["replicas"] == 1, 60, 0.5)


def test_uninstall_leaves_nothing_of_the_release(shop: Shop) -> None:
    shop.cluster.helm("uninstall", RELEASE, "--wait", "--timeout=90s", namespace=shop.namespace)
    kinds = "deployments,services,configmaps,serviceaccounts,roles,rolebindings,poddisruptionbudgets,workerpools"
    left = until(
        lambda: shop.kubectl("get", kinds, "-o", "name", "-l", f"app.kubernetes.io/instance={RELEASE}") or "nothing", 30
    )
    assert left == "nothing"
