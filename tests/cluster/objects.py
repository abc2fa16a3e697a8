"""All that is in a namespace, of every kind that the cluster knows."""

from __future__ import annotations

from .client import Cluster


def objects(cluster: Cluster, namespace: str) -> set[str]:
    """`kind/name` of every object but Events, which tell of the past; what each new namespace has is left out too."""
    kinds = cluster.kubectl("api-resources", "--namespaced", "--verbs=list", "--output=name").split()
    asked = ",".join(kind for kind in kinds if kind.partition(".")[0] != "events")
    found = set(cluster.kubectl("get", asked, "--output=name", "--ignore-not-found", namespace=namespace).split())
    return found - {"configmap/kube-root-ca.crt", "serviceaccount/default"}
