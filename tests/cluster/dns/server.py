"""The node's cluster DNS: a CoreDNS of four plugins that runs beside the other components, not as pods.

It answers for Services and denies every other name by itself: it holds no plugin that could ask another server, so that
nothing a pod asks leaves the machine. The module has a folder of its own because all Go files of the node's folder are
in the key of the node's own build, which takes minutes.
"""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

from tests.cluster.node.ranges import Ranges
from tests.parts.building import program

NAME = "kube-dns"  # what Kubernetes' own tools look for
PORT = 53
_NAMESPACE = "kube-system"


def binary() -> Path:
    """The cached CoreDNS, built first (about 2 CPU minutes) if missing. Raises GoMissing, BuildFailed."""
    return program(Path(__file__).resolve().parent, "coredns", ".", "about 2 CPU minutes")


def corefile(ranges: Ranges, kubeconfig: Path) -> str:
    """Its configuration."""
    return dedent(f"""\
        .:{PORT} {{
            bind {ranges.node}
            errors
            kubernetes cluster.local in-addr.arpa {{
                kubeconfig {kubeconfig}
            }}
            template ANY ANY {{
                rcode NXDOMAIN
            }}
        }}
        """)


def objects(ranges: Ranges) -> dict[str, dict[str, object]]:
    """The Service at the address that the kubelet tells pods, and its endpoint, by the API's path to create them."""
    ports = [{"name": f"dns-{protocol.lower()}", "port": PORT, "protocol": protocol} for protocol in ("UDP", "TCP")]
    service: dict[str, object] = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": NAME, "labels": {"k8s-app": NAME}},
        "spec": {"clusterIP": ranges.dns, "ports": ports},
    }
    endpoint: dict[str, object] = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": f"{NAME}-node", "labels": {"kubernetes.io/service-name": NAME}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [ranges.node], "conditions": {"ready": True}}],
        "ports": ports,
    }
    return {
        f"/api/v1/namespaces/{_NAMESPACE}/services": service,
        f"/apis/discovery.k8s.io/v1/namespaces/{_NAMESPACE}/endpointslices": endpoint,
    }
