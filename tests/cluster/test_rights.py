"""The operator may do what it does and nothing else, by the API server's own audit log; no other pod may do a thing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.client import Cluster, CommandFailed
from tests.cluster.hpa import hpa
from tests.cluster.release import NAME, SETTLE_S, Release
from tests.cluster.rights import Request, Right, granted, requests
from tests.local.dev_fleet import until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3600)]

ACCOUNT = f"{NAME}-fleet-operator"
_TOKENS = "/var/run/secrets/kubernetes.io"
# What Kubernetes lets everybody ask: who am I, and what may I?
_ABOUT_ITSELF = {
    Right("authentication.k8s.io", "selfsubjectreviews", "create"),
    Right("authorization.k8s.io", "selfsubjectaccessreviews", "create"),
    Right("authorization.k8s.io", "selfsubjectrulesreviews", "create"),
}


@pytest.fixture(scope="module")
def asked(shop: Release) -> list[Request]:
    """What was asked of the API server in a full life of the operator, with all that makes it write.

    Pods are listed and marked as the load goes: a pool shrinks, and its idle pods go first.
    """
    log = shop.cluster.audit_log
    if log is None:
        pytest.skip("what was asked of your cluster cannot be read: FLEET_TEST_CLUSTER=build makes one that tells")
    try:
        _live(shop)
    except AssertionError as error:
        # What it may not do, it waits for in vain.
        error.add_note(f"refused: {sorted({str(r) for r in requests(log, shop.namespace) if r.refused})}")
        raise
    return list(requests(log, shop.namespace))


def _live(shop: Release) -> None:
    _load_comes_and_goes(shop)
    # It is there while all the rest goes on.
    shop.kubectl("apply", "-f", "-", stdin=hpa(f"{NAME}-payments", 2))
    _a_person_scales_a_deployment(shop)
    until(lambda: shop.pool("payments")["mode"] == "Held", SETTLE_S, 0.5)
    assert "HorizontalPodAutoscaler" in shop.pool("payments")["message"]
    shop.kubectl("rollout", "restart", f"deployment/{ACCOUNT}")
    shop.kubectl("rollout", "status", f"deployment/{ACCOUNT}", "--timeout=90s")
    _a_person_pins_a_pool(shop)
    shop.kubectl("delete", f"hpa/{NAME}-payments")


def _load_comes_and_goes(shop: Release) -> None:
    until(shop.ready, 30)
    orders = [f"burst-{number}" for number in range(40)]
    shop.place_all(orders)
    until(lambda: shop.pool("payments")["replicas"] > 1, 60, 0.3)
    until(lambda: all(shop.status(order) == "completed" for order in orders), SETTLE_S, 1.0)
    until(lambda: shop.pool("payments")["replicas"] == shop.pool("orders")["replicas"] == 1, SETTLE_S, 0.5)


def _a_person_pins_a_pool(shop: Release) -> None:
    shop.kubectl("scale", "wp/orders", "--replicas=2")
    until(lambda: shop.pool("orders")["mode"] == "Pinned" and shop.pool("orders")["readyReplicas"] == 2, SETTLE_S, 0.5)
    shop.kubectl("patch", "wp", "orders", "--type=merge", "-p", '{"spec":{"replicas":null}}')
    until(lambda: shop.pool("orders")["mode"] == "Automatic" and shop.pool("orders")["replicas"] == 1, 60, 0.5)


def _a_person_scales_a_deployment(shop: Release) -> None:
    shop.kubectl("scale", f"deployment/{NAME}-orders", "--replicas=3")
    until(lambda: shop.pool("orders")["mode"] == "Held", 30, 0.3)
    shop.kubectl("patch", "wp", "orders", "--type=merge", "-p", '{"spec":{"holdSeconds":5}}')
    until(lambda: shop.pool("orders")["mode"] == "Automatic" and shop.pool("orders")["replicas"] == 1, 60, 0.5)


def test_no_pod_but_the_operators_has_a_token(shop: Release) -> None:
    pods = shop.pods(f"app.kubernetes.io/instance={NAME}")
    components = {pod["metadata"]["name"]: pod["metadata"]["labels"]["app.kubernetes.io/component"] for pod in pods}
    assert set(components.values()) == {"api", "operator", "worker"}
    for pod in pods:
        name, spec = pod["metadata"]["name"], pod["spec"]
        theirs = components[name] == "operator"
        assert spec["automountServiceAccountToken"] is theirs, name
        assert any(_is_token(volume) for volume in spec["volumes"]) is theirs, name
        looks = ["python", "-c", f"import os; print(os.path.exists({_TOKENS!r}))"]
        for container in spec["containers"]:
            found = shop.kubectl("exec", name, "-c", container["name"], "--", *looks).strip()
            assert found == str(theirs), f"{name}/{container['name']}: {_TOKENS}"


def test_the_role_is_what_a_full_life_of_the_operator_used(shop: Release, asked: list[Request]) -> None:
    rights = granted(json.loads(shop.kubectl("get", f"role/{ACCOUNT}", "-o", "json"))["rules"])
    about_objects = [request for request in asked if request.target]
    assert {request.right(rights) for request in about_objects} == rights
    assert [str(request) for request in asked if request.refused] == []
    assert {request.target["namespace"] for request in about_objects if request.target} == {shop.namespace}
    # Before its restart and after it.
    operators = {request.pod for request in asked}
    assert len(operators) == 2
    assert all(pod.startswith(f"{ACCOUNT}-") for pod in operators)
    assert {request.account for request in asked} == {ACCOUNT}


def test_the_operators_token_opens_nothing_else(shop: Release, tmp_path: Path) -> None:
    operator = _with_token(shop, tmp_path / "kubeconfig")
    rights = granted(json.loads(shop.kubectl("get", f"role/{ACCOUNT}", "-o", "json"))["rules"])
    assert _may(operator, shop.namespace) == rights | _ABOUT_ITSELF
    assert _may(operator, "default") == _ABOUT_ITSELF
    # The words are true: what is granted works, the rest does not.
    assert "orders" in operator.kubectl("get", "wp", namespace=shop.namespace)
    for what in ("secrets", "configmaps", "serviceaccounts", "roles"):
        _assert_forbidden(operator, "get", what, "--namespace", shop.namespace)
    pod = operator.kubectl("get", "pods", "-o", "name", namespace=shop.namespace).split()[0]
    for verb in (("get",), ("delete",), ("exec", "--", "true"), ("logs",)):
        _assert_forbidden(operator, verb[0], pod, "--namespace", shop.namespace, *verb[1:])
    for what in ("wp", "deployments", "pods", "secrets"):
        _assert_forbidden(operator, "get", what, "--namespace", "default")
        _assert_forbidden(operator, "get", what, "--all-namespaces")
    for what in ("nodes", "namespaces", "crds", "clusterroles"):
        _assert_forbidden(operator, "get", what)


def _is_token(volume: dict[str, Any]) -> bool:
    sources = volume.get("projected", {}).get("sources", [])
    return "secret" in volume or any("serviceAccountToken" in source for source in sources)


def _with_token(shop: Release, kubeconfig: Path) -> Cluster:
    """The cluster as whoever holds the operator's token sees it."""
    config = json.loads(shop.kubectl("config", "view", "--raw", "--minify", "--flatten", "-o", "json"))
    token = shop.kubectl("create", "token", ACCOUNT).strip()
    config["users"] = [{"name": user["name"], "user": {"token": token}} for user in config["users"]]
    kubeconfig.touch(mode=0o600)
    kubeconfig.write_text(json.dumps(config))
    return replace(shop.cluster, kubeconfig=kubeconfig)


def _may(cluster: Cluster, namespace: str) -> set[Right]:
    """All that the API server says the caller may do in a namespace: by any Role or ClusterRole."""
    kind = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview"}
    review = json.dumps({**kind, "spec": {"namespace": namespace}})
    # To validate, kubectl would list the CRDs, which the caller may not.
    answer = json.loads(cluster.kubectl("create", "--validate=false", "-f", "-", "-o", "json", stdin=review))
    return granted(answer["status"]["resourceRules"])


def _assert_forbidden(cluster: Cluster, *command: str) -> None:
    with pytest.raises(CommandFailed, match="(?i)forbidden"):
        cluster.kubectl(*command)
