"""A HorizontalPodAutoscaler: the other one who scales a Deployment."""

from __future__ import annotations

import json


def hpa(deployment: str, replicas: int) -> str:
    """As JSON, with the Deployment's own name. Without metrics it still sees to its minimum, `replicas`."""
    body = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": deployment},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": deployment},
            "minReplicas": replicas,
            "maxReplicas": replicas,
        },
    }
    return json.dumps(body)
