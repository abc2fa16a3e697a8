"""What may go wrong around an operator, on purpose: its API server, its clock, the objects that it reads."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.client import Cluster, CommandFailed
from tests.cluster.node import traces
from tests.operator.pool import CRD, CRDS, apply_crd
from tests.operator.process import ACCOUNT, server_of, until
from tests.parts import apt

FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")


@contextmanager
def api_server_away(cluster: Cluster) -> Iterator[None]:
    """Kill it, and have it started again at the end of the block; it is ready when that is left."""
    if not cluster.ours:
        pytest.skip("SKIPPED: the API server of a cluster of yours is not killed")
    pids = traces.processes(traces.names(cluster.kubeconfig.parents[1]).cgroup)
    (server,) = [pid for pid in pids if b"\0kube-apiserver\0" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    keeper = int(Path(f"/proc/{server}/stat").read_text().rpartition(") ")[2].split()[1])
    # Whoever starts it anew a second later.
    os.kill(keeper, signal.SIGSTOP)
    try:
        os.kill(server, signal.SIGKILL)
        yield
    finally:
        os.kill(keeper, signal.SIGCONT)
    until(lambda: _ready(cluster), 120, "an API server")


def _ready(cluster: Cluster) -> bool:
    try:
        return cluster.kubectl("get", "--raw", "/readyz") == "ok"
    except CommandFailed:
        return False


@contextmanager
def too_many_requests(cluster: Cluster, namespace: str, token: str) -> Iterator[None]:
    """The API server answers all that the operator of `namespace` asks with 429 and Retry-After: 1, for a minute."""
    limited = {"nominalConcurrencyShares": 0, "lendablePercent": 0, "borrowingLimitPercent": 0}
    account = {"kind": "ServiceAccount", "serviceAccount": {"name": ACCOUNT, "namespace": namespace}}
    every = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": True}
    level = _flow("PriorityLevelConfiguration", namespace, {"type": "Limited", "limited": limited})
    level["spec"]["limited"]["limitResponse"] = {"type": "Reject"}
    schema = {
        "priorityLevelConfiguration": {"name": namespace},
        "matchingPrecedence": 2,  # 1 is the exempt ones'
        "rules": [{"subjects": [account], "resourceRules": [every]}],
    }
    for body in (level, _flow("FlowSchema", namespace, schema)):
        cluster.kubectl("create", "-f", "-", stdin=json.dumps(body))
    try:
        time.sleep(1)  # until the API server has read both
        # Without seats there is still room for one request while there is no other: this one, whose body never comes.
        with _connected(cluster) as line:
            head = (
                f"POST /api/v1/namespaces/{namespace}/events HTTP/1.1\r\nHost: it\r\nAuthorization: Bearer {token}\r\n"
            )
            line.sendall(f"{head}Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{{".encode())
            yield
    finally:
        cluster.kubectl("delete", f"flowschema/{namespace}", f"prioritylevelconfiguration/{namespace}")


@contextmanager
def without_lists(cluster: Cluster, namespace: str) -> Iterator[None]:
    """The operator of `namespace` may watch, and not list; what it watches already goes on."""
    role = json.loads(cluster.kubectl("get", f"role/{ACCOUNT}", "-o", "json", namespace=namespace))
    less = [{**rule, "verbs": [verb for verb in rule["verbs"] if verb != "list"]} for rule in role["rules"]]
    less = [rule for rule in less if rule["verbs"]]  # one without a verb is refused

    def allow(rules: list[dict[str, Any]]) -> None:
        patch = ("patch", f"role/{ACCOUNT}", "--type=merge", "-p", json.dumps({"rules": rules}))
        cluster.kubectl(*patch, namespace=namespace)

    allow(less)
    try:
        yield
    finally:
        allow(role["rules"])


@contextmanager
def failing_inside(cluster: Cluster, namespace: str) -> Iterator[None]:
    """The API server answers 500 to whoever scales or tells a status in `namespace`: it asks a webhook that is away."""
    asked = {"apiVersions": ["*"], "operations": ["UPDATE"], "scope": "Namespaced"}
    webhook = {
        "name": "nobody.workerfleet.test",
        "clientConfig": {"url": "https://127.0.0.1:9/"},
        "rules": [
            {**asked, "apiGroups": ["apps"], "resources": ["deployments/scale"]},
            {**asked, "apiGroups": ["workerfleet.dev"], "resources": ["workerpools/status"]},
        ],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "failurePolicy": "Fail",
        "timeoutSeconds": 1,
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }
    kind = "ValidatingWebhookConfiguration"
    body = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": namespace}}
    cluster.kubectl("create", "-f", "-", stdin=json.dumps({**body, "webhooks": [webhook]}))
    try:
        until(lambda: _fails_inside(cluster, namespace), 60, "a webhook that is asked")
        yield
    finally:
        cluster.kubectl("delete", kind, namespace)


def _fails_inside(cluster: Cluster, namespace: str) -> bool:
    try:
        cluster.kubectl("scale", "deployments", "--all", "--replicas=9", "--dry-run=server", namespace=namespace)
    except CommandFailed as error:
        return "InternalError" in str(error)
    return False


def _connected(cluster: Cluster) -> ssl.SSLSocket:
    known = yaml.safe_load(cluster.kubeconfig.read_text())["clusters"][0]["cluster"]
    context = ssl.create_default_context(cadata=base64.b64decode(known["certificate-authority-data"]).decode())
    host, _, port = server_of(cluster).rpartition(":")
    return context.wrap_socket(socket.create_connection((host, int(port)), timeout=10), server_hostname=host)


def _flow(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


@contextmanager
def crd_that_checks_nothing(cluster: Cluster) -> Iterator[None]:
    """Objects of a CRD that was older, or that somebody edited."""
    (path,) = Path(CRDS).glob("*.yaml")
    body = yaml.safe_load(path.read_text())
    body["spec"]["versions"][0]["schema"] = {
        "openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    }
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=json.dumps(body))
    try:
        yield
    finally:
        cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", CRDS)
        apply_crd(cluster)
        assert CRD in cluster.kubectl("get", "crd", "-o", "name")


class Clock:
    """The wall clock of a process that is started with `settings`; its monotonic clock goes on."""

    def __init__(self, folder: Path) -> None:
        if not FAKETIME.exists():
            apt.install(["libfaketime"])
        self._file = folder / "clock"
        self.jump(0)
        self.settings = {
            "LD_PRELOAD": str(FAKETIME),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def jump(self, seconds: int) -> None:
        """So far from the true time."""
        self._file.write_text(f"{seconds:+d}s\n")
        time.sleep(2)  # until it is read
