"""A cluster as the tests see it: its kubeconfig, real kubectl and helm, and namespaces of their own."""

from __future__ import annotations

import os
import secrets
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .tools import tool

_COMMAND_LIMIT_S = 180.0
_ACCOUNT_LIMIT_S = 30.0
_LABELS = {
    "pod-security.kubernetes.io/enforce": "restricted",
    "pod-security.kubernetes.io/enforce-version": "latest",
    "worker-fleet/made-by": "tests",
}


class CommandFailed(RuntimeError):
    """A command ended with another exit code than 0; the message ends with what it said."""


@dataclass(frozen=True)
class Cluster:
    """`kubeconfig` knows this one context; `home` is a folder for the caches of the tools.

    `host_address`: where pods reach a server of this machine that listens on it, or on all addresses; None: unknown.
    `ours`: whether this session made the cluster. `audit_log`: what ServiceAccounts asked of the API server, one
    audit.k8s.io/v1 Event a line; None: it cannot be read from here.
    """

    kubeconfig: Path
    context: str
    home: Path
    load: Callable[[Path], list[str]]
    host_address: str | None = None
    ours: bool = False
    audit_log: Path | None = None

    def kubectl(
        self, *args: str, namespace: str | None = None, stdin: str | None = None, limit_s: float = _COMMAND_LIMIT_S
    ) -> str:
        """What kubectl printed. Raises CommandFailed, subprocess.TimeoutExpired."""
        return self._run("kubectl", args, namespace, stdin, limit_s)

    def helm(self, *args: str, namespace: str | None = None, limit_s: float = _COMMAND_LIMIT_S) -> str:
        """What helm 4 printed. Raises CommandFailed, subprocess.TimeoutExpired."""
        return self._run("helm", args, namespace, None, limit_s)

    def helm3(self, *args: str, namespace: str | None = None, limit_s: float = _COMMAND_LIMIT_S) -> str:
        """What helm 3 printed. Raises CommandFailed, subprocess.TimeoutExpired."""
        return self._run("helm3", args, namespace, None, limit_s)

    def start_kubectl(self, *args: str, namespace: str | None = None) -> subprocess.Popen[str]:
        """A kubectl that goes on (watch, logs -f, proxy); its output is a pipe. The caller ends it."""
        command = [str(tool("kubectl")), *(("--namespace", namespace) if namespace else ()), *args]
        return subprocess.Popen(
            command,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    @contextmanager
    def proxy(self) -> Iterator[str]:
        """An http:// address of this machine that is the API server's: the way to Services that any cluster has."""
        process = self.start_kubectl("proxy", "--port=0")
        try:
            assert process.stdout is not None
            # "Starting to serve on 127.0.0.1:40001"
            yield "http://" + process.stdout.readline().split()[-1]
        finally:
            process.terminate()
            process.wait(10)

    def load_image(self, tar: Path) -> list[str]:
        """Gives the cluster the images of a tar (OCI or Docker): pods name them as returned, imagePullPolicy Never."""
        return self.load(tar)

    @contextmanager
    def namespace(self) -> Iterator[str]:
        """A new namespace under Pod Security "restricted"; at the end it is deleted.

        On a cluster that this session has not made, it and its pods are gone then; ours goes with the session, and five
        seconds a namespace, which Kubernetes waits by itself, are minutes.
        """
        name = f"fleet-test-{secrets.token_hex(4)}"
        self.kubectl("create", "namespace", name)
        try:
            self.kubectl("label", "namespace", name, *(f"{key}={value}" for key, value in _LABELS.items()))
            self._wait_for_account(name)
            yield name
        finally:
            self.kubectl("delete", "namespace", name, "--wait=false")
            # While there are pods, the namespace's end is looked at only each half of their grace period.
            self.kubectl("delete", "pods", "--all", "--grace-period=1", "--wait=false", namespace=name)
            if not self.ours:
                self.kubectl("wait", "--for=delete", f"namespace/{name}", f"--timeout={_COMMAND_LIMIT_S - 10:.0f}s")

    def _wait_for_account(self, namespace: str) -> None:
        # Pods are refused until a controller made the namespace's ServiceAccount.
        deadline = time.monotonic() + _ACCOUNT_LIMIT_S
        while not self.kubectl("get", "sa", "default", "--ignore-not-found", "-o", "name", namespace=namespace):
            if time.monotonic() > deadline:
                raise TimeoutError(f"namespace {namespace} has no ServiceAccount after {_ACCOUNT_LIMIT_S:.0f} s")
            time.sleep(0.1)

    def _run(self, name: str, args: tuple[str, ...], namespace: str | None, stdin: str | None, limit_s: float) -> str:
        command = [str(tool(name)), *(("--namespace", namespace) if namespace else ()), *args]
        done = subprocess.run(
            command,
            check=False,
            env=self.environment(),
            input=stdin if stdin is not None else "",
            capture_output=True,
            text=True,
            timeout=limit_s,
        )
        if done.returncode:
            said = (done.stdout + done.stderr)[-4000:]
            raise CommandFailed(f"{name} {shlex.join(command[1:])}: exit {done.returncode}\n{said}")
        return done.stdout

    def environment(self) -> dict[str, str]:
        """The environment for a program that shall find this cluster and no other."""
        env = {key: value for key, value in os.environ.items() if not key.startswith(("HELM_", "KUBE"))}
        homes = {f"HELM_{kind}_HOME": str(self.home / "helm" / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA")}
        env |= {"KUBECONFIG": str(self.kubeconfig), "KUBECACHEDIR": str(self.home / "kubectl"), **homes}
        if self.ours:
            # The node is on this machine: no proxy can reach it.
            for key in list(env):
                if key.lower() in ("http_proxy", "https_proxy", "all_proxy"):
                    del env[key]
        return env
