"""What holds for all pods and the operator's rights, and that Kubernetes and our own processes understand it all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from lightkube import codecs
from pydantic import BaseModel

from app.core.config.errors import ENV_PREFIX
from app.core.config.load import load_settings
from app.core.config.model import Settings
from app.core.config.variables import CONFIG_VARIABLE
from app.core.services.temporal.connection import speaks_tls
from tests.charts.render import CHART, ENVIRONMENTS, Body, Helm, container, variables
from tests.operator.process import ALLOCATOR

pytestmark = pytest.mark.charts

EVERYTHING: dict[str, Any] = {
    "api": {"enabled": True},
    "config": {"temporal": {"rpc_timeout_s": 4.5, "worker": {"workflow_cache_size": 1000000}}},
    "env": [{"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": "http://jaeger:4317"}],
    "envFrom": [{"secretRef": {"name": "more"}}],
    "imagePullSecrets": [{"name": "registry"}],
    "temporal": {"tls": {"existingSecret": "certificate"}, "apiKey": {"existingSecret": "key"}},
    "workerDefaults": {"nodeSelector": {"a": "b"}, "tolerations": [{"operator": "Exists"}]},
}


@pytest.mark.parametrize("environment", ENVIRONMENTS)
@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["plain", "everything"])
def test_kubernetes_knows_every_field(helm: Helm, environment: str, values: dict[str, Any]) -> None:
    """lightkube's types are those of Kubernetes 1.37: what they drop or refuse is misspelt or misplaced."""
    for body in helm.template(values, environment=environment).all:
        if body["kind"] != "WorkerPool":
            assert list(_lost(body, _understood(body))) == []


def test_kubernetes_knows_every_field_of_the_crd() -> None:
    crd = yaml.safe_load((CHART / "crds" / "workerpools.yaml").read_text())
    assert list(_lost(crd, _understood(crd))) == []


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_pod_is_restricted(helm: Helm, environment: str) -> None:
    pods = helm.template({"api": {"enabled": True}}, environment=environment).templates()
    assert len(pods) == 4
    for name, pod in pods.items():
        assert list(_unrestricted(pod)) == [], name


def test_only_the_operator_has_a_token(helm: Helm) -> None:
    pods = helm.template({"api": {"enabled": True}}).templates()
    tokens = {name for name, pod in pods.items() if pod["automountServiceAccountToken"]}
    assert tokens == {"shop-fleet-operator"}
    assert {name for name, pod in pods.items() if "serviceAccountName" in pod} == tokens


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_variable_is_a_setting(helm: Helm, environment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for pod in helm.template(EVERYTHING, environment=environment).templates().values():
        for name in variables(pod):
            if name.startswith(ENV_PREFIX) and name != CONFIG_VARIABLE:
                path = name.removeprefix(ENV_PREFIX).lower().split("__")
                assert _is_setting(Settings, path), f"no process reads {name}"


def test_every_process_starts_with_what_is_rendered(
    helm: Helm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    objects = helm.template(EVERYTHING)
    file = tmp_path / "config.yaml"
    file.write_text(objects.of("ConfigMap")["shop-fleet-config"]["data"]["config.yaml"])
    for pod in objects.templates().values():
        with monkeypatch.context() as patch:
            for name, value in variables(pod).items():
                patch.setenv(name, str(file) if name == CONFIG_VARIABLE else value or "x:")
            settings = load_settings(connects=False)
        assert settings.temporal.address == "temporal-frontend.temporal:7233"
        assert settings.temporal.namespace == "production"
        assert settings.temporal.rpc_timeout_s == 4.5
        assert settings.temporal.worker.workflow_cache_size == 1_000_000


def test_certificates_and_api_key_are_files_that_can_be_renewed(
    helm: Helm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pods = helm.template({**EVERYTHING, "config": {}}).templates()
    assert len(pods) == 4
    for pod in pods.values():
        with monkeypatch.context() as patch:
            for name, value in variables(pod).items():
                patch.setenv(name, value or "x:")
            temporal = load_settings(connects=False).temporal
        assert _secret_of(pod, temporal.tls.server_ca_file) == ("certificate", "ca.crt")
        assert _secret_of(pod, temporal.tls.client_cert_file) == ("certificate", "tls.crt")
        assert _secret_of(pod, temporal.tls.client_key_file) == ("certificate", "tls.key")
        assert _secret_of(pod, temporal.api_key_file) == ("key", "api-key")
        assert speaks_tls(temporal)


def test_only_what_a_secret_has_is_mounted(helm: Helm) -> None:
    for tls, files in (
        ({"authority": ""}, {"CLIENT_CERT", "CLIENT_KEY"}),
        ({"certificate": "", "key": ""}, {"SERVER_CA"}),
        ({"certificate": "chain.pem"}, {"SERVER_CA", "CLIENT_CERT", "CLIENT_KEY"}),
    ):
        pods = helm.template({"temporal": {"tls": {"existingSecret": "certificate", **tls}}}).templates()
        for pod in pods.values():
            named = {name for name in variables(pod) if "TLS" in name or "API_KEY" in name}
            assert named == {f"FLEET_TEMPORAL__TLS__{file}_FILE" for file in files}
            (volume,) = (each["secret"] for each in pod["volumes"] if "secret" in each)
            assert len(volume["items"]) == len(files)
            assert all(item["key"] for item in volume["items"])
    for pod in helm.template().templates().values():
        assert not any("secret" in volume for volume in pod["volumes"])


def test_probes_ask_where_the_process_listens(helm: Helm, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, pod in helm.template(EVERYTHING).templates().items():
        main, given = container(pod), variables(pod)
        kind = {"shop-fleet-api": "API", "shop-fleet-operator": "OPERATOR"}.get(name, "TEMPORAL__WORKER")
        middle = "" if kind == "API" else "HEALTH_"
        ports = {port["name"]: str(port["containerPort"]) for port in main["ports"]}
        assert given[f"FLEET_{kind}__{middle}HOST"] == "0.0.0.0"
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            if probe in main:
                assert ports[main[probe]["httpGet"]["port"]] == given[f"FLEET_{kind}__{middle}PORT"]
        # Alive is not ready: restarts do not bring Temporal back.
        assert main["livenessProbe"]["httpGet"]["path"] != "/readyz"
        assert main["startupProbe"]["httpGet"]["path"] != "/readyz"


def test_a_changed_configuration_rolls_all_pods(helm: Helm) -> None:
    def checksums(values: dict[str, Any]) -> set[str]:
        found = helm.template(values).of("Deployment").values()
        return {body["spec"]["template"]["metadata"]["annotations"]["checksum/config"] for body in found}

    one, other = checksums({}), checksums({"config": {"temporal": {"rpc_timeout_s": 3}}})
    assert len(one) == len(other) == 1
    assert one != other


def test_without_a_config_the_images_own_file_counts(helm: Helm) -> None:
    objects = helm.template()
    assert not objects.of("ConfigMap")
    assert all(CONFIG_VARIABLE not in variables(pod) for pod in objects.templates().values())


def test_the_operator_may_do_what_it_does_and_nothing_else(helm: Helm) -> None:
    """A right that is new here needs its use in tests/cluster/test_rights.py, which compares them with an audit log."""
    objects = helm.template(EVERYTHING)
    rights = {
        ("workerfleet.dev", "workerpools"): ["list", "watch"],
        ("workerfleet.dev", "workerpools/status"): ["patch"],
        ("apps", "deployments"): ["list", "watch"],
        ("apps", "deployments/scale"): ["patch"],
        ("autoscaling", "horizontalpodautoscalers"): ["list"],
        ("", "events"): ["create"],
        ("", "pods"): ["list", "patch"],
    }
    rules = objects.of("Role")["shop-fleet-operator"]["rules"]
    assert {(*rule["apiGroups"], *rule["resources"]): rule["verbs"] for rule in rules} == rights
    fewer = helm.template({"operator": {"podDeletionCost": False}}).of("Role")["shop-fleet-operator"]["rules"]
    assert fewer == [rule for rule in rules if rule["resources"] != ["pods"]]
    (subject,) = objects.of("RoleBinding")["shop-fleet-operator"]["subjects"]
    assert subject == {"kind": "ServiceAccount", "name": "shop-fleet-operator", "namespace": "fleet"}
    assert not objects.of("ClusterRole")


def test_there_is_never_more_than_one_operator(helm: Helm) -> None:
    spec = helm.template().of("Deployment")["shop-fleet-operator"]["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})


def test_the_operator_that_tests_and_benchmarks_run_has_the_chart_s_allocator(helm: Helm) -> None:
    operator = helm.template().of("Deployment")["shop-fleet-operator"]
    assert ALLOCATOR.items() <= variables(operator["spec"]["template"]["spec"]).items()


def test_the_allocator_of_all_pods_may_be_set(helm: Helm) -> None:
    pods = helm.template({"env": [{"name": "MALLOC_TRIM_THRESHOLD_", "value": "65536"}]}).of("Deployment")
    found = {variables(pod["spec"]["template"]["spec"])["MALLOC_TRIM_THRESHOLD_"] for pod in pods.values()}
    assert found == {"65536"}


def test_without_the_operator_neither_its_rights_nor_pools_are_there(helm: Helm) -> None:
    kinds = {body["kind"] for body in helm.template({"operator": {"enabled": False}}).all}
    assert kinds == {"Deployment", "PodDisruptionBudget"}


def test_the_api_of_somebody_else_is_served_too(helm: Helm) -> None:
    for values, app in (({"app": "shop.web:app"}, "shop.web:app"), ({}, "app.api.http.app:app")):
        pod = helm.template({"api": {"enabled": True, **values}}).templates()["shop-fleet-api"]
        assert container(pod)["command"] == ["python", "-m", "app.api.http.main", app]


def test_the_notes_say_what_to_type_next(helm4: Helm) -> None:
    notes = helm4.notes({"queues": {"orders": {"drainSeconds": 900}}, "api": {"enabled": True}})
    for line in (
        "kubectl -n fleet get workerpools",
        "kubectl -n fleet scale wp/orders --replicas=5",
        """kubectl -n fleet patch wp/orders --type=merge -p '{"spec":{"replicas":null}}'""",
        "kubectl -n fleet port-forward service/shop-fleet-api 8000:80",
        "WARNING: pods of orders may take 915 s to leave",
    ):
        assert line in notes
    assert "wp/" not in (alone := helm4.notes({"operator": {"enabled": False}}))
    assert "kubectl -n fleet scale deployment/shop-orders --replicas=5" in alone


def test_the_notes_say_which_secrets_speak_to_temporal(helm4: Helm) -> None:
    temporal = {"tls": {"existingSecret": "papers"}, "apiKey": {"existingSecret": "key"}}
    assert "Credentials for Temporal: TLS secret/papers, API key secret/key (" in helm4.notes({"temporal": temporal})
    del temporal["tls"]
    assert "Credentials for Temporal: API key secret/key (" in helm4.notes({"temporal": temporal})
    assert "Credentials" not in helm4.notes()


def test_the_notes_say_how_to_see_that_nothing_is_open_on_a_retired_queue(helm4: Helm) -> None:
    notes = helm4.notes({"queues": {name: {"retired": True} for name in ("orders", "payments")}})
    count = "temporal workflow count --address temporal-frontend.temporal:7233 --namespace production --query "
    assert notes.count("is retired. A manifest may leave it out when it counts 0 workflows:") == 2
    assert notes.count(f"""{count}'TaskQueue="orders" AND ExecutionStatus="Running"'""") == 1
    assert 'TaskQueue="payments"' not in notes  # it has activities alone: no workflow is ever on it
    assert notes.count(f"""{count}'ExecutionStatus="Running" AND StartTime < "20""") == 2
    assert "retired" not in helm4.notes()


def _secret_of(pod: Body, path: str) -> tuple[str, str]:
    """The Secret and its key behind a file; mounted so that a renewal arrives, and readable for the pod's user."""
    (mount,) = (each for each in container(pod)["volumeMounts"] if path.startswith(f"{each['mountPath']}/"))
    assert mount["readOnly"]
    assert "subPath" not in mount
    secret = next(volume["secret"] for volume in pod["volumes"] if volume["name"] == mount["name"])
    assert secret["defaultMode"] & 0o004, "neither owner nor group: it is root's, and there is no fsGroup"
    (key,) = (item["key"] for item in secret["items"] if f"{mount['mountPath']}/{item['path']}" == path)
    return secret["secretName"], key


def _understood(body: Body) -> Body:
    read: Body = codecs.from_dict(body).to_dict()  # type: ignore[no-untyped-call]
    return read


def _lost(said: Any, understood: Any, path: str = "") -> Iterator[str]:
    if isinstance(said, dict) and isinstance(understood, dict):
        for key, value in said.items():
            if key in understood:
                yield from _lost(value, understood[key], f"{path}.{key}")
            else:
                yield f"{path}.{key}"
    elif isinstance(said, list) and isinstance(understood, list):
        for index, (one, other) in enumerate(zip(said, understood, strict=True)):
            yield from _lost(one, other, f"{path}[{index}]")
    elif said != understood:
        yield f"{path}: {said!r} is understood as {understood!r}"


def _is_setting(section: type[BaseModel], path: list[str]) -> bool:
    field = section.model_fields.get(path[0])
    if field is None or len(path) == 1:
        return field is not None
    inner = field.annotation
    return isinstance(inner, type) and issubclass(inner, BaseModel) and _is_setting(inner, path[1:])


def _unrestricted(pod: Body) -> Iterator[str]:
    """Where a pod breaks Pod Security "restricted", or our own rules beyond it."""
    allowed = {
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
    }
    own = pod.get("securityContext", {})
    rules = {
        "host namespaces": not any(pod.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")),
        "root": own.get("runAsNonRoot") is True and own.get("runAsUser") == 10001,
        "seccomp": own.get("seccompProfile") == {"type": "RuntimeDefault"},
        "volumes": all(set(volume) - {"name"} <= allowed for volume in pod["volumes"]),
        "process 1": pod.get("shareProcessNamespace") is True,
        "service links": pod.get("enableServiceLinks") is False,
    }
    yield from (rule for rule, kept in rules.items() if not kept)
    for each in [*pod["containers"], *pod.get("initContainers", [])]:
        yield from _unrestricted_container(each)


def _unrestricted_container(body: Body) -> Iterator[str]:
    # Nothing else: a container's own user or seccomp profile would override the pod's.
    context = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    handlers = [body.get("lifecycle", {}).get("preStop", {}), *(body[key] for key in body if key.endswith("Probe"))]
    rules = {
        "security context": body.get("securityContext") == context,
        "no place to write": {"name": "tmp", "mountPath": "/tmp"} in body["volumeMounts"],
        "host ports": not any("hostPort" in port for port in body.get("ports", [])),
        "host in a probe": not any("host" in handler.get("httpGet", {}) for handler in handlers),
        "requests": {"cpu", "memory"} <= set(body["resources"]["requests"]),
        "why it ended": body.get("terminationMessagePolicy") == "FallbackToLogsOnError",
    }
    yield from (rule for rule, kept in rules.items() if not kept)
