"""Pods of the Deployment of pool.py that only look as if they ran: the API server and the ReplicaSet's controller are
real, and the kubelet, which would tell that they are ready, is played."""

from __future__ import annotations

import json

from app.operator.workerpool import POOL_LABEL
from tests.cluster.client import Cluster
from tests.local.dev_fleet import until
from tests.operator.pool import RELEASE

_NODE = "nowhere"


def names(cluster: Cluster, namespace: str) -> list[str]:
    """The pods of "orders" that nobody has told to end."""
    found = json.loads(cluster.kubectl("get", "pods", "-l", f"{POOL_LABEL}=orders", "-o", "json", namespace=namespace))
    alive = [pod["metadata"] for pod in found["items"] if "deletionTimestamp" not in pod["metadata"]]
    return sorted(metadata["name"] for metadata in alive)


def running_pods(cluster: Cluster, namespace: str, count: int, unready: int = 0) -> list[str]:
    """Scale the Deployment to `count`; all its pods run, the last `unready` of them not ready. Their names."""
    cluster.kubectl("scale", f"deployment/{RELEASE}-orders", f"--replicas={count}", namespace=namespace)
    until(lambda: len(names(cluster, namespace)) == count, 30, 0.1)
    made = names(cluster, namespace)
    for number, name in enumerate(made):
        bind(cluster, namespace, name)
        set_ready(cluster, namespace, name, number < count - unready)
    return made


def bind(cluster: Cluster, namespace: str, name: str) -> None:
    """Play the scheduler: the pod is on a node, which there is not."""
    target = {"apiVersion": "v1", "kind": "Node", "name": _NODE}
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target}
    path = f"/api/v1/namespaces/{namespace}/pods/{name}/binding"
    cluster.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(binding))


def set_ready(cluster: Cluster, namespace: str, name: str, ready: bool, *, runs: bool = True) -> None:
    """Play the kubelet: phase Running, its container too unless not `runs`, ready or not."""
    began = "2026-01-01T00:00:00Z"
    state = {"running": {"startedAt": began}} if runs else {"waiting": {"reason": "CrashLoopBackOff"}}
    container = {"name": "worker", "image": "none", "imageID": "", "ready": ready, "restartCount": 0, "state": state}
    condition = {"type": "Ready", "status": str(ready), "lastTransitionTime": began}
    status = {"phase": "Running", "conditions": [condition], "containerStatuses": [container]}
    patch = json.dumps({"status": status})
    cluster.kubectl("patch", "pod", name, "--subresource=status", "--type=merge", "-p", patch, namespace=namespace)
