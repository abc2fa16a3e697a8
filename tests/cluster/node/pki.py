"""The node's certificates and kubeconfigs, made anew at each start with openssl."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path

from .ranges import Ranges

CONTEXT = "worker-fleet"
_CURVE = ("-pkeyopt", "ec_paramgen_curve:P-256")
# Python 3.13 refuses a CA without keyUsage, and a certificate without the identifier of its issuer's key.
_CA = """
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
"""
_LEAF = """
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth, clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""
# file name: the user and the group that Kubernetes reads from the certificate.
_CLIENTS = {
    "admin": ("admin", "system:masters"),
    "controllers": ("system:kube-controller-manager", "system:kube-controller-manager"),
    "scheduler": ("system:kube-scheduler", "system:kube-scheduler"),
    "proxy": ("system:kube-proxy", "system:kube-proxy"),
    "kubelet": ("system:node:node", "system:nodes"),
}


def make(folder: Path, ranges: Ranges) -> None:
    """Writes ca, api, the clients' .crt and .key, sa.key, sa.pub and one NAME.conf a client into `folder`."""
    folder.mkdir(mode=0o700, parents=True)
    _certificate(folder, "ca", "ca", "", _CA)
    names = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"]
    served = _alternatives(names, ["127.0.0.1", ranges.node, ranges.api])
    _certificate(folder, "api", "kube-apiserver", "", _LEAF + served)
    for name, (user, group) in _CLIENTS.items():
        # The kubelet serves logs and exec with its own.
        extra = _alternatives(["node"], [ranges.node]) if name == "kubelet" else ""
        _certificate(folder, name, user, group, _LEAF + extra)
        _kubeconfig(folder, name, f"https://{ranges.node}:6443")
    _openssl("genpkey", "-algorithm", "EC", *_CURVE, "-out", str(folder / "sa.key"))
    _openssl("pkey", "-in", str(folder / "sa.key"), "-pubout", "-out", str(folder / "sa.pub"))


def _alternatives(names: list[str], addresses: list[str]) -> str:
    return "subjectAltName = " + ", ".join([f"DNS:{each}" for each in names] + [f"IP:{each}" for each in addresses])


def _certificate(folder: Path, name: str, user: str, group: str, extensions: str) -> None:
    subject = f"CN = {user}\n" + (f"O = {group}\n" if group else "")
    config = folder / f"{name}.cnf"
    head = "[req]\nprompt = no\ndistinguished_name = subject\nx509_extensions = extensions\n"
    config.write_text(f"{head}[subject]\n{subject}[extensions]\n{extensions}\n")
    signer = ["-CA", str(folder / "ca.crt"), "-CAkey", str(folder / "ca.key")] if name != "ca" else []
    key = ["-newkey", "ec", *_CURVE, "-nodes", "-keyout", str(folder / f"{name}.key")]
    issued = ["-days", "3650", *signer, "-out", str(folder / f"{name}.crt")]
    _openssl("req", "-x509", "-config", str(config), *key, *issued)
    config.unlink()


def _openssl(*args: str) -> None:
    done = subprocess.run(["openssl", *args], check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise RuntimeError(f"openssl {' '.join(args)}: exit {done.returncode}\n{done.stderr[-2000:]}")


def _kubeconfig(folder: Path, name: str, server: str) -> None:
    def inline(file: str) -> str:
        return base64.b64encode((folder / file).read_bytes()).decode()

    cluster = {"server": server, "certificate-authority-data": inline("ca.crt")}
    user = {"client-certificate-data": inline(f"{name}.crt"), "client-key-data": inline(f"{name}.key")}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": CONTEXT,
        "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": name}}],
        "clusters": [{"name": CONTEXT, "cluster": cluster}],
        "users": [{"name": name, "user": user}],
    }
    target = folder / f"{name}.conf"
    target.touch(mode=0o600)
    # JSON is YAML.
    target.write_text(json.dumps(config, indent=1))
