"""Where pods are counted: a real Kubernetes, a real Temporal and our operator, which asks Temporal through a counter.

The operator is a process of this machine with the cluster's kubeconfig, as in operator_cycles. Pods are the node's own
pause image: there as soon as they run, and gone at SIGTERM. What they would do is done by `pods.py`. In a `place` they
have neither a network nor a seccomp filter of their own, which cost CPU to make: what is measured is how they are
decided on.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.operator.workerpool import GROUP, INSTANCE_LABEL, KIND, POOL_LABEL, VERSION
from tests.cluster.client import Cluster, CommandFailed
from tests.cluster.fixtures import built_cluster
from tests.cluster.node.components import PAUSE_IMAGE
from tests.local.dev_fleet import until
from tests.operator.pool import apply_crd
from tests.parts.grpc_proxy import Proxy, grpc_proxy
from tests.parts.temporal import own_server

STATS_CACHE = 'matching.TaskQueueInfoByBuildIdTTL="5s"'
"""As servers have it by default; the fleet's own dev server has 1 s."""
READY_S, OPERATOR_S = 120.0, 180.0
_CONTEXT = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
_POD = {"automountServiceAccountToken": False, "enableServiceLinks": False}
_CONTAINER = {"name": "counted", "image": PAUSE_IMAGE, "imagePullPolicy": "Never"}
_SAFE = {**_POD, "containers": [{**_CONTAINER, "securityContext": _CONTEXT}]}
_BARE = {**_POD, "containers": [_CONTAINER], "hostNetwork": True}


@dataclass(frozen=True)
class Place:
    """`temporal` is the server's own address, for workers; `folder` holds the operators' logs.

    `bare`: pods are the cheapest that there are, which the namespace must allow.
    """

    cluster: Cluster
    namespace: str
    temporal: str
    folder: Path
    bare: bool = False

    def create(self, release: str, pool: str, replicas: int, spec: Mapping[str, Any] | None) -> None:
        """A Deployment of counted pods, and its WorkerPool, on the queue of the same name.

        Without `spec` there is no WorkerPool, and every operator leaves the Deployment as it is.
        """
        labels = {INSTANCE_LABEL: release, POOL_LABEL: pool}
        template = {"metadata": {"labels": labels}, "spec": _BARE if self.bare else _SAFE}
        deployment = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
        bodies = [_body("apps/v1", "Deployment", pool, labels, deployment)]
        if spec is not None:
            bodies.append(_body(f"{GROUP}/{VERSION}", KIND, pool, labels, {"taskQueue": pool, **spec}))
        self._create(bodies)
        if spec is not None:
            until(lambda: self.status(pool).get("mode") == "Automatic", READY_S)

    def delete(self, pool: str) -> None:
        """Both."""
        kinds = f"deployment/{pool}", f"workerpool/{pool}"
        self.cluster.kubectl("delete", *kinds, "--ignore-not-found", "--wait=false", namespace=self.namespace)

    def status(self, pool: str) -> dict[str, Any]:
        """Of the WorkerPool."""
        found = json.loads(self.cluster.kubectl("get", "wp", pool, "-o", "json", namespace=self.namespace))
        return dict(found.get("status") or {})

    def events(self, pool: str) -> list[str]:
        """`Reason message` of the Events on the WorkerPool, in the order of their making."""
        only = f"--field-selector=involvedObject.name={pool},involvedObject.kind={KIND}"
        found = json.loads(self.cluster.kubectl("get", "events", "-o", "json", only, namespace=self.namespace))["items"]
        found.sort(key=lambda event: int(event["metadata"]["resourceVersion"]))
        return [f"{event['reason']} {event['message']}" for event in found]

    def _create(self, bodies: Sequence[Mapping[str, Any]]) -> None:
        every = json.dumps({"apiVersion": "v1", "kind": "List", "items": bodies})
        self.cluster.kubectl("create", "-f", "-", namespace=self.namespace, stdin=every)

    @contextmanager
    def operator(self, release: str, *, poll_s: float | None = None) -> Iterator[Proxy]:
        """Our operator for the pools of one release, looking; the counter of what it asks of Temporal.

        `poll_s`: how often it looks, if not as by default.
        """
        theirs = ("FLEET_", "TEMPORAL_", "OTEL_")
        env = {name: text for name, text in self.cluster.environment().items() if not name.startswith(theirs)}
        home = self.folder / release
        home.mkdir()
        log = home / "operator.log"
        with grpc_proxy(self.temporal) as proxy, log.open("wb") as out:
            env |= {
                "KUBECONFIG": str(self.cluster.kubeconfig),
                "TEMPORAL_CONFIG_FILE": os.devnull,
                "FLEET_OPERATOR__NAMESPACE": self.namespace,
                "FLEET_OPERATOR__RELEASE": release,
                "FLEET_TEMPORAL__ADDRESS": proxy.address,
            }
            if poll_s is not None:
                env["FLEET_OPERATOR__POLL_S"] = str(poll_s)
            command = [sys.executable, "-m", "app.operator.main"]
            process = subprocess.Popen(command, cwd=home, env=env, stdout=out, stderr=out, start_new_session=True)
            try:
                until(lambda: process.poll() is not None or "scaling the pools of" in log.read_text(), OPERATOR_S)
                assert process.poll() is None, f"the operator ended with {process.returncode}"
                yield proxy
                assert process.poll() is None, f"the operator ended with {process.returncode}"
            except BaseException as error:
                error.add_note(f"the operator's log ends with\n{log.read_text()[-2000:]}")
                raise
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(OPERATOR_S)


@contextmanager
def place() -> Iterator[Place]:
    """A node of this machine with the CRD, Temporal, and a namespace."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fleet-counted-")))
        for name in ("cluster", "temporal", "operators"):
            (folder / name).mkdir()
        cluster = stack.enter_context(built_cluster(folder / "cluster"))
        temporal, _ = stack.enter_context(own_server(folder / "temporal", STATS_CACHE))
        apply_crd(cluster)
        # An API server says Established some moments before it serves.
        until(lambda: _serves(cluster), READY_S)
        namespace = stack.enter_context(cluster.namespace())
        allowed = "pod-security.kubernetes.io/enforce=privileged"
        cluster.kubectl("label", "namespace", namespace, allowed, "--overwrite")
        yield Place(cluster, namespace, temporal, folder / "operators", bare=True)


def _serves(cluster: Cluster) -> bool:
    try:
        cluster.kubectl("get", "workerpools", "--all-namespaces")
    except CommandFailed:
        return False
    return True


def _body(version: str, kind: str, name: str, labels: Mapping[str, str], spec: Mapping[str, Any]) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "labels": labels}, "spec": spec}
