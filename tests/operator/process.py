"""The operator as a process of this machine, with the account and the rights that the chart gives it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml
from prometheus_client.parser import text_string_to_metric_families

from app.core.ports import free_port
from tests.cluster.client import Cluster
from tests.local.dev_fleet import ROOT
from tests.operator.pool import RELEASE

ACCOUNT = f"{RELEASE}-fleet-operator"
CHART = ROOT / "charts/worker-fleet"
ALLOCATOR = {"MALLOC_TRIM_THRESHOLD_": "131072"}
"""As the chart sets it."""
_RIGHTS = ("ServiceAccount", "Role", "RoleBinding")


def grant(cluster: Cluster, namespace: str) -> str:
    """Give `namespace` the operator's account and Role, as the chart has them; a token of that account."""
    shown = ("--show-only", "templates/operator.yaml", "--values", str(CHART / "environments/dev.yaml"))
    text = cluster.helm("template", RELEASE, str(CHART), *shown, namespace=namespace)
    bodies = [body for body in yaml.safe_load_all(text) if body and body["kind"] in _RIGHTS]
    for body in bodies:
        cluster.kubectl("apply", "-f", "-", namespace=namespace, stdin=json.dumps(body))
    return cluster.kubectl("create", "token", ACCOUNT, "--duration=12h", namespace=namespace).strip()


def kubeconfig(cluster: Cluster, token: str, target: Path, server: str = "", *, insecure: bool = False) -> Path:
    """`target`, written: `cluster` as the holder of `token` sees it, over `server` (host:port) if there is one.

    `insecure`: without a look at the server's certificate.
    """
    known = yaml.safe_load(cluster.kubeconfig.read_text())["clusters"][0]["cluster"]
    if server:
        known = {**known, "server": f"https://{server}"}
    if insecure:
        known = {"server": known["server"], "insecure-skip-tls-verify": True}
    body = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "it",
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
        "clusters": [{"name": "it", "cluster": known}],
        "users": [{"name": "it", "user": {"token": token}}],
    }
    target.touch(mode=0o600)
    target.write_text(json.dumps(body))
    return target


def server_of(cluster: Cluster) -> str:
    """host:port of the API server."""
    server: str = yaml.safe_load(cluster.kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
    return server.removeprefix("https://")


class Operator:
    """One that runs; `lines` is what it has said."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process = process
        self.lines: list[str] = []
        self._port = port
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line.rstrip())

    def said(self, text: str) -> list[str]:
        """The lines so far that have `text`."""
        return [line for line in self.lines if text in line]

    def lives(self) -> bool:
        """True. Raises AssertionError, with its last words, once it has ended."""
        assert self.process.poll() is None, self.lines[-20:]
        return True

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        """Stop it, every thread by the time this returns."""
        self.process.send_signal(signal.SIGSTOP)
        os.waitpid(self.process.pid, os.WUNTRACED)

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def metrics(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        """Its samples by name and labels."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/metrics", timeout=30) as answer:
            families = text_string_to_metric_families(answer.read().decode())
        return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


@contextmanager
def operator(config: Path, namespace: str, temporal: str, *python: str, **settings: str) -> Iterator[Operator]:
    """`python -m app.operator.main`, or other arguments of `python`; killed at the end, frozen or not."""
    port = free_port("127.0.0.1")
    settings = {
        "KUBECONFIG": str(config),
        "PYTHONUNBUFFERED": "1",
        "FLEET_OPERATOR__NAMESPACE": namespace,
        "FLEET_OPERATOR__RELEASE": RELEASE,
        "FLEET_OPERATOR__HEALTH_PORT": str(port),
        "FLEET_TEMPORAL__ADDRESS": temporal,
        **ALLOCATOR,
        **settings,
    }
    # The node is on this machine: no proxy can reach it.
    inherited = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    process = subprocess.Popen(
        [sys.executable, *(python or ("-m", "app.operator.main"))],
        cwd=ROOT,
        env=inherited | settings,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    running = Operator(process, port)
    try:
        yield running
    finally:
        running.kill()


def until(done: Callable[[], object], limit_s: float, what: str, every_s: float = 0.2) -> float:
    """Wait for `done` to be true; the seconds that it took. Raises AssertionError after `limit_s`."""
    began = time.monotonic()
    while not done():
        assert time.monotonic() - began < limit_s, f"{what}: not within {limit_s:g} s"
        time.sleep(every_s)
    return time.monotonic() - began
