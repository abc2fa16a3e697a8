"""The laboratory of `test_faults_*.py`: an operator process between a real API server and a real Temporal, with a relay
in front of the one and a gRPC proxy in front of the other."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

from tests.cluster.client import Cluster
from tests.operator.pool import DEPLOYMENT, LABELS, POOL, RELEASE, apply_crd
from tests.operator.process import ACCOUNT, Operator, grant, kubeconfig, operator, server_of, until
from tests.parts.grpc_proxy import Proxy, grpc_proxy
from tests.parts.relay import Relay, relay

EAGER: dict[str, Any] = {
    "minReplicas": 0,
    "maxReplicas": 20,
    "idleSeconds": 1,
    "scaleDown": {"stabilizationWindowSeconds": 0},
}
"""Shrinks as soon as it may, so that a hold is seen."""
GROWING: dict[str, Any] = {"minReplicas": 0, "maxReplicas": 20, "backlogPerReplica": 5}
SETTLE_S = 60.0


@dataclass
class Laboratory:
    """One namespace with the pool `orders`; `queue` is its task queue in Temporal, which no other test has."""

    cluster: Cluster
    namespace: str
    folder: Path
    temporal: str
    proxy: Proxy
    api: Relay
    token: str
    queue: str = field(default_factory=lambda: f"q-{uuid.uuid4().hex[:12]}")

    def create(self, name: str = "orders", replicas: int = 1, **spec: object) -> None:
        """A pool and its Deployment; all pools have the same task queue, unless `spec` says another."""
        labels = LABELS | {"workerfleet.dev/pool": name}
        shape: dict[str, Any] = dict(DEPLOYMENT)
        template = {**shape["spec"]["template"], "metadata": {"labels": labels}}
        wanted = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
        self.apply({**POOL, "metadata": {"name": name, "labels": labels}, "spec": {"taskQueue": self.queue, **spec}})
        self.apply({**shape, "metadata": {"name": f"{RELEASE}-{name}", "labels": labels}, "spec": wanted})

    def apply(self, body: dict[str, Any]) -> None:
        self.kubectl("create", "-f", "-", stdin=json.dumps(body))

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Past the relay, with all rights."""
        return self.cluster.kubectl(*arguments, namespace=self.namespace, stdin=stdin)

    def operator(
        self, *python: str, temporal: str = "", insecure: bool = False, **settings: str
    ) -> AbstractContextManager[Operator]:
        """A process that looks each second. `temporal`: another way to Temporal."""
        target = self.folder / f"config-{uuid.uuid4().hex[:6]}"
        config = kubeconfig(self.cluster, self.token, target, self.api.address, insecure=insecure)
        settings = {"FLEET_OPERATOR__POLL_S": "1", **settings}
        return operator(config, self.namespace, temporal or self.proxy.address, *python, **settings)

    def replicas(self, pool: str = "orders") -> int:
        """Those that the Deployment is told to have."""
        return int(self.kubectl("get", "deployment", f"{RELEASE}-{pool}", "-o", "jsonpath={.spec.replicas}"))

    def status(self, pool: str = "orders") -> dict[str, Any]:
        body: dict[str, Any] = json.loads(self.kubectl("get", "wp", pool, "-o", "json"))
        return dict(body.get("status", {}))

    def known(self, pool: str = "orders") -> str:
        """What the condition DemandKnown says: Full, Partial or None; empty without a status."""
        found = [c["reason"] for c in self.status(pool).get("conditions", ()) if c["type"] == "DemandKnown"]
        return "".join(found)

    def patch(self, spec: dict[str, object], pool: str = "orders") -> None:
        self.kubectl("patch", "wp", pool, "--type=merge", "-p", json.dumps({"spec": spec}))

    def scale_by_hand(self, replicas: int, pool: str = "orders") -> None:
        self.kubectl("scale", "deployment", f"{RELEASE}-{pool}", f"--replicas={replicas}")

    def asked(self) -> list[dict[str, Any]]:
        """All that the operator has asked of the API server and been answered, as audit.k8s.io/v1 Events."""
        log = self.cluster.audit_log
        if log is None:
            pytest.skip("what was asked of your cluster cannot be read: FLEET_TEST_CLUSTER=build makes one that tells")
        lines = [line for line in log.read_text().splitlines(keepends=True) if line.endswith("\n")]
        user = f"system:serviceaccount:{self.namespace}:{ACCOUNT}"
        events = [event for line in lines if user in line for event in [json.loads(line)]]
        return [e for e in events if e["user"]["username"] == user and e["stage"] == "ResponseComplete"]

    def scalings(self) -> list[int]:
        """The codes that its writes of replicas were answered with, trials left out."""
        asked = [e for e in self.asked() if e.get("objectRef", {}).get("subresource") == "scale"]
        return [e["responseStatus"]["code"] for e in asked if "dryRun" not in e["requestURI"]]

    def start_workflows(self, count: int, address: str = "") -> None:
        """Workflows that wait in the queue; no worker runs."""

        async def start() -> None:
            client = await Client.connect(address or self.temporal)
            ids = [uuid.uuid4().hex for _ in range(count)]
            await asyncio.gather(*(client.start_workflow("Any", id=i, task_queue=self.queue) for i in ids))

        asyncio.run(start())

    def until(self, **status: object) -> float:
        """Wait until the status of `orders` has these values; the seconds that it took."""

        def has() -> bool:
            return status.items() <= self.status().items()

        try:
            return until(has, SETTLE_S, f"status {status}")
        except AssertionError as error:
            raise AssertionError(f"{error}; it is {self.status()}") from None

    def until_replicas(self, number: int, limit_s: float = SETTLE_S) -> float:
        """Wait until `orders` is told to have so many; the seconds that it took."""
        try:
            return until(lambda: self.replicas() == number, limit_s, f"{number} replicas")
        except AssertionError as error:
            raise AssertionError(f"{error}; they are {self.replicas()}: {self.status()}") from None


@pytest.fixture
def lab(cluster: Cluster, namespace: str, temporal_address: str, tmp_path: Path) -> Iterator[Laboratory]:
    """The laboratory; its pools are still to be created."""
    apply_crd(cluster)
    token = grant(cluster, namespace)
    with ExitStack() as stack:
        proxy = stack.enter_context(grpc_proxy(temporal_address))
        api = stack.enter_context(relay(server_of(cluster)))
        yield Laboratory(cluster, namespace, tmp_path, temporal_address, proxy, api, token)
