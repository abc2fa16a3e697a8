"""One WorkerPool of a release and its Deployment, of which no pod ever runs: only the objects matter."""

from __future__ import annotations

import json
from typing import Any

from app.operator.workerpool import INSTANCE_LABEL, POOL_LABEL
from tests.cluster.client import Cluster
from tests.local.dev_fleet import ROOT

RELEASE = "shop"
CRDS = str(ROOT / "charts/worker-fleet/crds")
CRD = "workerpools.workerfleet.dev"
LABELS = {INSTANCE_LABEL: RELEASE, POOL_LABEL: "orders"}
POOL = {
    "apiVersion": "workerfleet.dev/v1alpha1",
    "kind": "WorkerPool",
    "metadata": {"name": "orders", "labels": LABELS},
    "spec": {"taskQueue": "orders"},
}
# As Pod Security "restricted" asks, or there were no pods at all.
_POD = {
    "nodeSelector": {"there": "is-none"},
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    "containers": [
        {
            "name": "worker",
            "image": "none",
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        }
    ],
}
DEPLOYMENT: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": f"{RELEASE}-orders", "labels": LABELS},
    "spec": {
        "selector": {"matchLabels": LABELS},
        "template": {"metadata": {"labels": LABELS}, "spec": _POD},
    },
}


def apply_crd(cluster: Cluster) -> None:
    """Install the CRD, and wait until it is served."""
    cluster.kubectl("apply", "--server-side", "-f", CRDS)
    cluster.kubectl("wait", f"crd/{CRD}", "--for=condition=Established", "--timeout=30s")


def create_pool(cluster: Cluster, namespace: str) -> None:
    """Create both in `namespace`; the CRD is there."""
    for body in (POOL, DEPLOYMENT):
        cluster.kubectl("create", "-f", "-", namespace=namespace, stdin=json.dumps(body))
