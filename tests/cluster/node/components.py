"""What runs in a node: each component's command line, what it waits for, and its configuration file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from textwrap import dedent

from tests.cluster.dns import server as dns

from .ranges import Ranges

PAUSE_IMAGE = "localhost/pause:1"
AUDIT_LOG = "audit.jsonl"
"""Below the node's folder: one JSON a line, each request of a ServiceAccount that is none of Kubernetes' own."""
# The node has a network of its own: these ports are taken from no one.
_ETCD = "127.0.0.1:2379"
_API = "127.0.0.1:6443"


@dataclass(frozen=True)
class Layout:
    """Where a node's files are. `cgroup` is the name of its control group, below the root of each hierarchy."""

    folder: Path
    programs: Path
    dns: Path
    containerd: Path
    plugins: Path
    cgroup: str
    ranges: Ranges

    @property
    def pki(self) -> Path:
        return self.folder / "pki"

    @property
    def socket(self) -> Path:
        return self.folder / "containerd.sock"

    @property
    def audit_policy(self) -> Path:
        return self.folder / "audit-policy.json"


@dataclass(frozen=True)
class Component:
    """`after`: what must accept connections first, HOST:PORT or the path of a socket."""

    name: str
    argv: list[str]
    after: list[str]


def components(layout: Layout) -> list[dict[str, object]]:
    """Every component, in the order of their start, as plain data."""
    containerd = [str(layout.containerd), "--config", str(layout.folder / "containerd.toml")]
    found = [
        Component("containerd", containerd, []),
        Component("etcd", _etcd(layout), []),
        Component("kube-apiserver", _api_server(layout), [_ETCD]),
        Component("kube-controller-manager", _controllers(layout), [_API]),
        Component("kube-scheduler", _scheduler(layout), [_API]),
        Component("kubelet", _kubelet(layout), [_API, str(layout.socket)]),
        Component("kube-proxy", _proxy(layout), [_API]),
        Component("coredns", [str(layout.dns), "-conf", str(layout.folder / "Corefile")], [_API]),
    ]
    return [asdict(each) for each in found]


def write_configs(layout: Layout) -> None:
    """Writes the configuration files that the command lines name."""
    (layout.folder / "containerd.toml").write_text(_containerd_config(layout))
    (layout.folder / "Corefile").write_text(dns.corefile(layout.ranges, layout.pki / "admin.conf"))
    (layout.folder / "kubelet.json").write_text(json.dumps(_kubelet_config(layout), indent=1))
    layout.audit_policy.write_text(json.dumps(_audit_policy(), indent=1))
    cni = layout.folder / "cni"
    cni.mkdir()
    (cni / "10-pods.conflist").write_text(json.dumps(_cni_config(layout), indent=1))


def _command(layout: Layout, name: str, options: dict[str, object]) -> list[str]:
    flags = [f"--{key}={value}" for key, value in options.items()]
    return [str(layout.programs / "kubenode"), name, *flags]


def _etcd(layout: Layout) -> list[str]:
    options = {
        "data-dir": layout.folder / "etcd",
        # What a power cut would lose is lost anyway: a node is made anew at each start.
        "unsafe-no-fsync": "true",
        "listen-client-urls": f"http://{_ETCD}",
        "advertise-client-urls": f"http://{_ETCD}",
        "listen-peer-urls": "http://127.0.0.1:2380",
    }
    return _command(layout, "etcd", options)


def _api_server(layout: Layout) -> list[str]:
    pki = layout.pki
    options = {
        "etcd-servers": f"http://{_ETCD}",
        "bind-address": "0.0.0.0",
        "secure-port": 6443,
        "advertise-address": layout.ranges.node,
        "client-ca-file": pki / "ca.crt",
        "tls-cert-file": pki / "api.crt",
        "tls-private-key-file": pki / "api.key",
        "service-account-key-file": pki / "sa.pub",
        "service-account-signing-key-file": pki / "sa.key",
        "service-account-issuer": "https://kubernetes.default.svc",
        "service-cluster-ip-range": layout.ranges.services,
        "authorization-mode": "Node,RBAC",
        "enable-admission-plugins": "NodeRestriction",
        "kubelet-certificate-authority": pki / "ca.crt",
        "kubelet-client-certificate": pki / "admin.crt",
        "kubelet-client-key": pki / "admin.key",
        "kubelet-preferred-address-types": "InternalIP",
        "allow-privileged": "true",
        "audit-policy-file": layout.audit_policy,
        "audit-log-path": layout.folder / AUDIT_LOG,
    }
    return _command(layout, "kube-apiserver", options)


def _audit_policy() -> dict[str, object]:
    # The log stays small: Kubernetes' own controllers never rest, and no test asks what they do.
    return {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [
            {"level": "None", "userGroups": ["system:serviceaccounts:kube-system"]},
            {"level": "Metadata", "userGroups": ["system:serviceaccounts"]},
            {"level": "None"},
        ],
    }


def _controllers(layout: Layout) -> list[str]:
    options = {
        "kubeconfig": layout.pki / "controllers.conf",
        "service-account-private-key-file": layout.pki / "sa.key",
        "root-ca-file": layout.pki / "ca.crt",
        "cluster-signing-cert-file": layout.pki / "ca.crt",
        "cluster-signing-key-file": layout.pki / "ca.key",
        "use-service-account-credentials": "true",
        "leader-elect": "false",
        "cluster-cidr": layout.ranges.pods,
        "bind-address": "127.0.0.1",
    }
    return _command(layout, "kube-controller-manager", options)


def _scheduler(layout: Layout) -> list[str]:
    options = {"kubeconfig": layout.pki / "scheduler.conf", "leader-elect": "false", "bind-address": "127.0.0.1"}
    return _command(layout, "kube-scheduler", options)


def _kubelet(layout: Layout) -> list[str]:
    options = {
        "config": layout.folder / "kubelet.json",
        "kubeconfig": layout.pki / "kubelet.conf",
        "root-dir": layout.folder / "kubelet",
        "hostname-override": "node",
        "node-ip": layout.ranges.node,
    }
    return _command(layout, "kubelet", options)


def _proxy(layout: Layout) -> list[str]:
    options = {
        "kubeconfig": layout.pki / "proxy.conf",
        "cluster-cidr": layout.ranges.pods,
        "proxy-mode": "iptables",
        "hostname-override": "node",
        # These belong to the whole machine; kube-proxy ends when it can't write them.
        "conntrack-max-per-core": 0,
        "conntrack-min": 0,
        "conntrack-tcp-timeout-established": "0s",
        "conntrack-tcp-timeout-close-wait": "0s",
    }
    return _command(layout, "kube-proxy", options)


def _kubelet_config(layout: Layout) -> dict[str, object]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        # Not loopback: the API server reaches it here for logs and exec.
        "address": layout.ranges.node,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(layout.pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{layout.cgroup}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "clusterDNS": [layout.ranges.dns],
        "clusterDomain": "cluster.local",
        "containerRuntimeEndpoint": f"unix://{layout.socket}",
        "resolvConf": "/dev/null",
        "tlsCertFile": str(layout.pki / "kubelet.crt"),
        "tlsPrivateKeyFile": str(layout.pki / "kubelet.key"),
        "volumePluginDir": str(layout.folder / "volume-plugins"),
        # A full disk of the machine is no business of a test's node, and its images exist nowhere else.
        "evictionHard": {"memory.available": "200Mi"},
        "imageGCHighThresholdPercent": 100,
        "maxPods": 50,
        # How soon a renewed Secret is in the pods that have it mounted; by default within a minute.
        "syncFrequency": "10s",
        "logging": {"format": "text"},
    }


def _containerd_config(layout: Layout) -> str:
    folder = layout.folder / "containerd"
    return dedent(f"""\
        version = 2
        root = "{folder}/root"
        state = "{folder}/state"
        [grpc]
        address = "{layout.socket}"
        [plugins."io.containerd.internal.v1.opt"]
        path = "{folder}/opt"
        [plugins."io.containerd.grpc.v1.cri"]
        # In a container, negative scores can't be written: without this no pod would start there.
        restrict_oom_score_adj = true
        sandbox_image = "{PAUSE_IMAGE}"
        [plugins."io.containerd.grpc.v1.cri".cni]
        bin_dir = "{layout.plugins}"
        conf_dir = "{layout.folder}/cni"
        [plugins."io.containerd.grpc.v1.cri".containerd]
        snapshotter = "overlayfs"
        """)


def _cni_config(layout: Layout) -> dict[str, object]:
    # A route a pod, no bridge: answers between pods that came by a Service always pass the node's address translation,
    # which a bridge would bypass without the kernel module br_netfilter.
    addresses = {"type": "host-local", "ranges": [[{"subnet": layout.ranges.pods}]], "routes": [{"dst": "0.0.0.0/0"}]}
    return {
        "cniVersion": "0.4.0",
        "name": "pods",
        "plugins": [
            {"type": "ptp", "ipMasq": False, "ipam": addresses},
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }
