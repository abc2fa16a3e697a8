"""A release of the chart on a real cluster, with its Temporal and its ledger beside it, and what tests ask of it."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, inspect, text
from temporalio.client import Client

from app.core.ports import free_port
from app.local.server import command
from tests.cluster.client import Cluster
from tests.image.build import IMAGE
from tests.local.dev_fleet import ORDER, ROOT, until
from tests.orders.book import Outcome, outcome
from tests.orders.load import place_surely
from tests.parts.fixtures import running_jaeger
from tests.parts.jaeger.server import Jaeger
from tests.parts.postgres import PostgresServer, postgres_server
from tests.parts.temporal import stop_server

CHART = str(ROOT / "charts/worker-fleet")
NAME = "shop"
SETTLE_S = 120.0
_INSTALL_LIMIT = "170s"
# Process 1 is the pod's pause, and who runs this is no shell that could name a process by its command.
_SIGKILL = """
import os, pathlib, signal, sys
for process in pathlib.Path("/proc").iterdir():
    if process.name.isdigit() and sys.argv[1] in (process / "cmdline").read_text().split("\\0")[1:3]:
        os.kill(int(process.name), signal.SIGKILL)
"""


@dataclass(frozen=True)
class TemporalServer:
    """host:port of one server, from this machine and from pods."""

    address: str
    for_pods: str


@contextmanager
def temporal_server(
    cluster: Cluster, *, poll_cancel: bool = False, statistics_cache_s: float = 1
) -> Iterator[TemporalServer]:
    """A dev server that pods reach; `poll_cancel`: frontend.enableCancelWorkerPollsOnShutdown. Skips without a way."""
    if cluster.host_address is None:
        pytest.skip("pods cannot reach this machine: set FLEET_TEST_HOST_ADDRESS")
    port = free_port("127.0.0.1")
    folder = Path(tempfile.mkdtemp(prefix="fleet-temporal-"))
    flags = {
        "frontend.enableCancelWorkerPollsOnShutdown": str(poll_cancel).lower(),
        "matching.TaskQueueInfoByBuildIdTTL": f'"{statistics_cache_s:g}s"',
    }
    line = [
        f"{name}={flags[name]}" if (name := part.partition("=")[0]) in flags else part
        for part in command(folder, port, free_port("127.0.0.1"))
    ]
    line[line.index("--ip") + 1] = "0.0.0.0"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(line, stdout=log, stderr=log, start_new_session=True)
    try:
        yield TemporalServer(f"127.0.0.1:{port}", f"{cluster.host_address}:{port}")
    finally:
        stop_server(process)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def temporal_for_pods(cluster: Cluster) -> Iterator[TemporalServer]:
    """A Temporal server that pods reach."""
    with temporal_server(cluster) as server:
        yield server


@pytest.fixture(scope="module")
def postgres_for_pods(cluster: Cluster) -> Iterator[PostgresServer]:
    """A PostgreSQL that pods reach."""
    with postgres_server(cluster.host_address or "127.0.0.1") as server:
        yield server


@pytest.fixture(scope="module")
def jaeger_for_pods(cluster: Cluster, pytestconfig: pytest.Config) -> Iterator[Jaeger]:
    """A Jaeger that takes spans from pods."""
    with running_jaeger(pytestconfig, cluster.host_address or "127.0.0.1") as jaeger:
        yield jaeger


@dataclass(frozen=True)
class Release:
    """The chart's release NAME in a namespace of its own, not yet installed; `base` is the API server's address."""

    cluster: Cluster
    namespace: str
    temporal: TemporalServer
    ledger: PostgresServer
    base: str

    def values(self, changes: Mapping[str, str]) -> list[str]:
        """The example's values for a small cluster, few slots and a short window, with `changes`, as arguments."""
        repository, tag = IMAGE.removeprefix("docker.io/library/").split(":")
        values = {
            "image.repository": repository,
            "image.tag": tag,
            "image.pullPolicy": "Never",
            "temporal.address": self.temporal.for_pods,
            "ledger.url": self.ledger.for_pods,
            "api.enabled": "true",
            "workerDefaults.scaleDown.stabilizationWindowSeconds": "5",
            "workerDefaults.scaleDown.maxPercent": "100",
            "workerDefaults.maxReplicas": "4",
            "workerDefaults.slots": "5",
            **changes,
        }
        return [part for key, value in values.items() for part in ("--set", f"{key}={value}")]

    def install(self, *args: str, helm: str = "helm", **changes: str) -> None:
        """`helm install --wait`; `helm`: helm or helm3; `changes`: values, with __ for a dot."""
        self.helm("install", CHART, *args, helm=helm, changes=changes)

    def upgrade(self, *args: str, helm: str = "helm", chart: str = CHART, **changes: str) -> None:
        """`helm upgrade --wait`; else as install."""
        self.helm("upgrade", chart, *args, helm=helm, changes=changes)

    def helm(self, verb: str, chart: str, *args: str, helm: str, changes: Mapping[str, str]) -> None:
        dotted = {key.replace("__", "."): value for key, value in changes.items()}
        run = self.cluster.helm3 if helm == "helm3" else self.cluster.helm
        # What the caller says wins: the last one counts.
        wait = ("--wait", f"--timeout={_INSTALL_LIMIT}")
        run(verb, NAME, chart, *self.values(dotted), *wait, *args, namespace=self.namespace)

    def kubectl(self, *args: str, stdin: str | None = None) -> str:
        return self.cluster.kubectl(*args, namespace=self.namespace, stdin=stdin)

    def pool(self, name: str) -> dict[str, Any]:
        """The status of a WorkerPool."""
        found: dict[str, Any] = json.loads(self.kubectl("get", "wp", name, "-o", "json"))
        return found.get("status") or {}

    def pods(self, selector: str) -> list[dict[str, Any]]:
        """The pods of a label selector."""
        found: list[dict[str, Any]] = json.loads(self.kubectl("get", "pods", "-l", selector, "-o", "json"))["items"]
        return found

    def kill(self, pod: str, module: str) -> None:
        """SIGKILL to the process of a pod that runs `python -m module`."""
        self.kubectl("exec", pod, "--", "python", "-c", _SIGKILL, module)

    def restarts(self, pod: str) -> int:
        """How often the container of a pod was started again."""
        return int(self.kubectl("get", "pod", pod, "-o", "jsonpath={.status.containerStatuses[0].restartCount}"))

    def in_flight(self, pod: str) -> int:
        """Activities that a worker's pod has in hand now. Raises OSError."""
        return int(self._ask("GET", f"pods/{pod}:8080/proxy/livez")["in_flight"])

    def replicas(self, pool: str) -> int:
        """What the Deployment of a pool is told to have."""
        return int(self.kubectl("get", f"deployment/{NAME}-{pool}", "-o", "jsonpath={.spec.replicas}"))

    def events(self, pool: str) -> list[str]:
        """`Reason message` of the Events on a pool, in the order of their making."""
        found = json.loads(self.kubectl("get", "events", "-o", "json", f"--field-selector=involvedObject.name={pool}"))
        ours = [event for event in found["items"] if event["involvedObject"]["kind"] == "WorkerPool"]
        ours.sort(key=lambda event: int(event["metadata"]["resourceVersion"]))
        return [f"{event['reason']} {event['message']}" for event in ours]

    def ready(self) -> bool:
        """Whether the API answers and reaches Temporal."""
        return bool(self.call("GET", "/readyz")["ok"])

    def place(self, order_id: str) -> None:
        self.call("POST", "/orders", {"order_id": order_id, **ORDER})

    def place_all(self, order_ids: list[str]) -> None:
        """All at once, as far as threads go, and surely. Raises OSError."""
        with ThreadPoolExecutor(16) as threads:
            for placed in [threads.submit(place_surely, self.call, order_id) for order_id in order_ids]:
                placed.result()

    def status(self, order_id: str) -> str:
        return str(self.call("GET", f"/orders/{order_id}")["status"])

    def call(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """One request to the API's Service. Raises OSError."""
        return self._ask(method, f"services/{NAME}-fleet-api:http/proxy{path}", body, headers)

    def _ask(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        url = f"{self.base}/api/v1/namespaces/{self.namespace}/{path}"
        data = None if body is None else json.dumps(body).encode()
        kinds = {"content-type": "application/json", **(headers or {})}
        request = urllib.request.Request(url, method=method, data=data, headers=kinds)
        with urllib.request.urlopen(request, timeout=15) as answer:
            view: dict[str, Any] = json.load(answer)
            return view

    def bodies(self) -> list[tuple[str, str, str, int]]:
        """(order, activity, worker, attempt) of every activity body that was started."""
        with create_engine(self.ledger.url).connect() as ledger:
            if not inspect(ledger).has_table("body_starts"):
                return []  # the first body makes it
            rows = ledger.execute(text("select workflow_id, activity, worker, attempt from body_starts"))
            return [(row[0], row[1], row[2], row[3]) for row in rows]

    async def open_orders(self) -> int:
        """Workflows that have not ended: one cheap query, where reading histories again and again is a load itself."""
        client = await Client.connect(self.temporal.address)
        return (await client.count_workflows('ExecutionStatus="Running"')).count

    async def outcome(self, order_ids: list[str]) -> Outcome:
        """What became of orders, by Temporal's histories and the ledger."""
        return await outcome(self.temporal.address, self.ledger.url, [f"order-{order_id}" for order_id in order_ids])


@contextmanager
def release(image: Path, cluster: Cluster, temporal: TemporalServer, ledger: PostgresServer) -> Iterator[Release]:
    """A release to install, in a new namespace under Pod Security "restricted", which is gone at the end."""
    cluster.load_image(image)
    with cluster.proxy() as base, cluster.namespace() as namespace:
        yield Release(cluster, namespace, temporal, ledger, base)


@pytest.fixture(scope="module")
def shop(
    image: Path, cluster: Cluster, temporal_for_pods: TemporalServer, postgres_for_pods: PostgresServer
) -> Iterator[Release]:
    """The example's fleet, ready and under its operator. A module with another one names it so as well."""
    with release(image, cluster, temporal_for_pods, postgres_for_pods) as made:
        made.install()
        until(made.ready, SETTLE_S, 0.5)
        until(lambda: all(made.pool(name).get("mode") == "Automatic" for name in ("orders", "payments")), SETTLE_S, 0.5)
        yield made
