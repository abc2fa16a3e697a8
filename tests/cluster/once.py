"""One command of an image, run once as a pod under Pod Security "restricted"."""

from __future__ import annotations

import json

from .client import Cluster

_NAME = "once"


def output(cluster: Cluster, namespace: str, image: str, *command: str) -> str:
    """What the command printed. Raises CommandFailed when it did not exit with 0; its pod is gone at the end."""
    container = {
        "name": _NAME,
        "image": image,
        "imagePullPolicy": "Never",
        "command": command,
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    context = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    spec = {"restartPolicy": "Never", "securityContext": context, "containers": [container]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": _NAME}, "spec": spec}
    cluster.kubectl("apply", "--filename=-", namespace=namespace, stdin=json.dumps(pod))
    try:
        done = "jsonpath={.status.phase}=Succeeded"
        cluster.kubectl("wait", f"pod/{_NAME}", f"--for={done}", "--timeout=60s", namespace=namespace)
        return cluster.kubectl("logs", _NAME, namespace=namespace)
    finally:
        cluster.kubectl("delete", "pod", _NAME, "--wait=true", namespace=namespace)
