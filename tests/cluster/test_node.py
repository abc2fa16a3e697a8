"""The built node does what the tests of this project need of a Kubernetes."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.local.dev_fleet import until

from .client import Cluster, CommandFailed
from .node import image
from .node.build import programs

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3600)]  # the first run builds Kubernetes

_PORT = 8080
_SECURITY = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@pytest.fixture(scope="module")
def probe(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of an image of the tests' own program, in the cluster."""
    files = {"probe": programs() / "probe"}
    tar = image.write(tmp_path_factory.mktemp("image") / "probe.tar", "localhost/probe:1", files, ["/probe"])
    (name,) = cluster.load_image(tar)
    return name


def _pod(name: str, probe: str, *args: str) -> dict[str, Any]:
    container = {
        "name": "main",
        "image": probe,
        "imagePullPolicy": "Never",
        "args": list(args),
        "securityContext": _SECURITY,
    }
    spec = {"restartPolicy": "Never", "automountServiceAccountToken": False, "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": spec}


def _deployment(name: str, probe: str, text: str, replicas: int) -> dict[str, Any]:
    pod = _pod(name, probe, "serve", f":{_PORT}", text)
    pod["spec"]["restartPolicy"] = "Always"
    pod["spec"]["terminationGracePeriodSeconds"] = 1
    pod["spec"]["containers"][0]["readinessProbe"] = {"httpGet": {"port": _PORT}, "periodSeconds": 1}
    template = {"metadata": {"labels": {"app": name}}, "spec": pod["spec"]}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def _apply(cluster: Cluster, namespace: str, thing: dict[str, Any]) -> None:
    cluster.kubectl("apply", "-f", "-", namespace=namespace, stdin=json.dumps(thing))


def _wait(cluster: Cluster, namespace: str, pod: str, phase: str) -> None:
    until = ["--for", f"jsonpath={{.status.phase}}={phase}", "--timeout=60s"]
    cluster.kubectl("wait", f"pod/{pod}", *until, namespace=namespace)


@contextmanager
def _served(address: str, text: str) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer((address, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://{address}:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


def _get(url: str) -> str:
    # The node's rules follow a Service's endpoints within a second or two.
    deadline = time.monotonic() + 20
    while True:
        try:
            with _OPENER.open(url, timeout=5) as answer:
                text: str = answer.read().decode()
                return text.strip()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def test_a_restricted_pod_runs_to_its_end_and_its_log_is_read(cluster: Cluster, namespace: str, probe: str) -> None:
    _apply(cluster, namespace, _pod("hello", probe, "say", "hello"))
    _wait(cluster, namespace, "hello", "Succeeded")
    assert cluster.kubectl("logs", "hello", namespace=namespace) == "hello\n"


def test_a_pod_that_is_not_restricted_is_refused(cluster: Cluster, namespace: str, probe: str) -> None:
    pod = _pod("root", probe, "say", "hello")
    del pod["spec"]["containers"][0]["securityContext"]
    with pytest.raises(CommandFailed, match='violates PodSecurity "restricted:latest"'):
        _apply(cluster, namespace, pod)


def test_a_command_runs_in_a_pod(cluster: Cluster, namespace: str, probe: str) -> None:
    _apply(cluster, namespace, _pod("server", probe, "serve", f":{_PORT}", "inside"))
    _wait(cluster, namespace, "server", "Running")
    said = cluster.kubectl("exec", "server", "--", "/probe", "say", "from exec", namespace=namespace)
    assert said == "from exec\n"


def test_a_service_answers_this_machine_and_pods(cluster: Cluster, namespace: str, probe: str) -> None:
    _apply(cluster, namespace, _deployment("server", probe, "served", replicas=1))
    cluster.kubectl("rollout", "status", "deployment/server", "--timeout=60s", namespace=namespace)
    cluster.kubectl("expose", "deployment/server", f"--port={_PORT}", namespace=namespace)
    address = cluster.kubectl("get", "service/server", "-o", "jsonpath={.spec.clusterIP}", namespace=namespace)
    url = f"http://{address}:{_PORT}/"
    cluster.kubectl(
        "wait", "endpointslices", "-l", "kubernetes.io/service-name=server", "--timeout=30s",
        "--for", "jsonpath={.endpoints[0].conditions.ready}=true", namespace=namespace,
    )  # fmt: skip
    if cluster.ours:  # others do not show their Services to this machine
        assert _get(url) == "served"

    # Another pod, and the server itself by way of its Service.
    client = _pod("client", probe, "get", url)
    client["spec"]["restartPolicy"] = "OnFailure"
    _apply(cluster, namespace, client)
    _wait(cluster, namespace, "client", "Succeeded")
    assert cluster.kubectl("logs", "client", namespace=namespace) == "served\n"
    assert cluster.kubectl("exec", "deployment/server", "--", "/probe", "get", url, namespace=namespace) == "served\n"


def test_a_pod_finds_a_service_by_name_and_nothing_outside_of_the_cluster(
    cluster: Cluster, namespace: str, probe: str
) -> None:
    with cluster.namespace() as other:
        _apply(cluster, other, _deployment("server", probe, "served", replicas=1))
        cluster.kubectl("expose", "deployment/server", f"--port={_PORT}", namespace=other)
        cluster.kubectl("rollout", "status", "deployment/server", "--timeout=60s", namespace=other)
        for name, service in {"short": f"server.{other}", "full": f"server.{other}.svc.cluster.local"}.items():
            client = _pod(name, probe, "get", f"http://{service}:{_PORT}/")
            client["spec"]["restartPolicy"] = "OnFailure"
            _apply(cluster, namespace, client)
            _wait(cluster, namespace, name, "Succeeded")
            assert cluster.kubectl("logs", name, namespace=namespace) == "served\n"
    _apply(cluster, namespace, _pod("stranger", probe, "get", "http://nobody.invalid/"))
    _wait(cluster, namespace, "stranger", "Failed")
    assert "no such host" in cluster.kubectl("logs", "stranger", namespace=namespace)


def test_a_pod_reaches_a_server_of_this_machine(cluster: Cluster, namespace: str, probe: str) -> None:
    if cluster.host_address is None:
        pytest.skip("FLEET_TEST_HOST_ADDRESS is not set: an address of this machine that pods reach")
    with _served(cluster.host_address, "from the machine") as url:
        _apply(cluster, namespace, _pod("client", probe, "get", url))
        _wait(cluster, namespace, "client", "Succeeded")
    assert cluster.kubectl("logs", "client", namespace=namespace) == "from the machine"


def test_a_rollout_replaces_pods(cluster: Cluster, namespace: str, probe: str) -> None:
    for text in ("first", "second"):
        _apply(cluster, namespace, _deployment("server", probe, text, replicas=2))
        cluster.kubectl("rollout", "status", "deployment/server", "--timeout=120s", namespace=namespace)
    pods = json.loads(cluster.kubectl("get", "pods", "-l", "app=server", "-o", "json", namespace=namespace))["items"]
    staying = [each for each in pods if "deletionTimestamp" not in each["metadata"]]
    assert [each["spec"]["containers"][0]["args"][-1] for each in staying] == ["second", "second"]


@pytest.mark.parametrize("version", ["helm", "helm3"])
def test_helm_installs_and_removes_a_release(cluster: Cluster, namespace: str, tmp_path: Path, version: str) -> None:
    (tmp_path / "templates").mkdir()
    (tmp_path / "Chart.yaml").write_text("{apiVersion: v2, name: note, version: 0.1.0}")
    note = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "note"}, "data": {"by": version}}
    (tmp_path / "templates" / "note.yaml").write_text(json.dumps(note))
    helm = getattr(cluster, version)
    helm("install", "note", str(tmp_path), namespace=namespace)
    assert cluster.kubectl("get", "cm/note", "-o", "jsonpath={.data.by}", namespace=namespace) == version
    helm("uninstall", "note", namespace=namespace)


def test_a_namespace_is_gone_at_its_end_and_no_other_is_touched(cluster: Cluster) -> None:
    def names(*those: str) -> set[str]:
        return set(cluster.kubectl("get", "namespaces", "-o", "name", *those).split())

    staying = "--field-selector=status.phase=Active"
    before = names(staying)
    with cluster.namespace() as name:
        assert names(staying) == before | {f"namespace/{name}"}
    assert names(staying) == before
    until(lambda: f"namespace/{name}" not in names(), 120)
