"""What the chart makes of a queue: a Deployment that drains, a WorkerPool that scales it, a budget for evictions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.core.config.load import load_settings
from app.core.config.resolve import worker_settings
from app.worker.drain import DrainBudget
from tests.charts.render import ENVIRONMENTS, Body, Helm, container, manifest, variables

pytestmark = pytest.mark.charts

RELEASE_S, SLACK_S = 4, 3
"""Handing back what is stuck; the kubelet's delay between the deletion and SIGTERM (up to 1.4 s on a loaded node)."""


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_each_queue_gets_a_deployment_a_pool_and_a_budget_that_find_each_other(helm: Helm, environment: str) -> None:
    objects = helm.template(environment=environment)
    assert set(objects.workers()) == set(objects.of("WorkerPool")) == {"orders", "payments"}
    for pool, deployment in objects.workers().items():
        name, spec = deployment["metadata"]["name"], deployment["spec"]
        selector = {
            "app.kubernetes.io/name": "worker-fleet",
            "app.kubernetes.io/instance": "shop",
            "app.kubernetes.io/component": "worker",
            "workerfleet.dev/pool": pool,
        }
        assert name == f"shop-{pool}"
        # Immutable: a label more or less here, and no installed release can be upgraded.
        assert spec["selector"] == {"matchLabels": selector}
        assert selector.items() < spec["template"]["metadata"]["labels"].items()
        assert objects.of("PodDisruptionBudget")[name]["spec"]["selector"] == {"matchLabels": selector}
        assert set(deployment["metadata"]["labels"]) - set(selector) == {
            "app.kubernetes.io/version",
            "app.kubernetes.io/managed-by",
        }
        queue = objects.of("WorkerPool")[pool]["spec"]["taskQueue"]
        command = ["python", "-m", "app.worker.main", "serve", "--queue", queue]
        assert container(spec["template"]["spec"])["command"] == command


@pytest.mark.parametrize("operator", [True, False])
def test_replicas_of_pools_are_never_rendered(helm: Helm, operator: bool) -> None:
    objects = helm.template({"operator": {"enabled": operator}})
    for body in [*objects.workers().values(), *objects.of("WorkerPool").values()]:
        assert "replicas" not in body["spec"]


@pytest.mark.parametrize("drain_s", [0.5, 15, 60, 90.25, 3600])
def test_the_grace_period_holds_the_whole_drain(
    helm: Helm, drain_s: float, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    theirs = {"queuesManifest": manifest(orders="orders"), "queues": {"orders": {"drainSeconds": drain_s}}}
    objects = helm.template(theirs, environment="staging")
    pod = objects.workers()["orders"]["spec"]["template"]["spec"]
    _environment(monkeypatch, pod)
    # The image's own file, which counts while `config` is empty.
    file = tmp_path / "config.yaml"
    file.write_text("queues: {orders: {worker: {drain_timeout_s: 5000, max_concurrent_activities: 99}}}")
    settings = load_settings(file=file)
    orders, worker = worker_settings(settings, "orders"), settings.temporal.worker
    budget = DrainBudget(orders.drain_timeout_s, worker.unwind_timeout_s, worker.flush_timeout_s)
    assert orders.drain_timeout_s == drain_s
    assert orders.max_concurrent_activities == 7
    grace_s = pod["terminationGracePeriodSeconds"]
    assert 0 <= grace_s - (budget.total_s + SLACK_S) < 1
    assert drain_s + 15 <= grace_s < drain_s + 16


def test_a_longer_unwind_or_flush_lengthens_the_grace_period(helm: Helm) -> None:
    objects = helm.template({"config": {"temporal": {"worker": {"unwind_timeout_s": 20.5, "flush_timeout_s": 10}}}})
    pod = objects.templates()["shop-orders"]
    assert pod["terminationGracePeriodSeconds"] == 60 + 21 + 10 + RELEASE_S + SLACK_S
    assert variables(pod)["FLEET_TEMPORAL__WORKER__UNWIND_TIMEOUT_S"] == "20.5"


def test_unwind_and_flush_of_the_images_own_file_hold_unless_config_has_others(helm: Helm) -> None:
    theirs = {"queuesManifest": manifest({"unwindSeconds": 30, "flushSeconds": 8}, a="a")}
    pod = helm.template(theirs, environment="staging").templates()["shop-a"]
    assert _bounds(pod) == ("30", "8", 30 + 30 + 8 + RELEASE_S + SLACK_S)
    longer_flush = {**theirs, "config": {"temporal": {"worker": {"flush_timeout_s": 9.5}}}}
    pod = helm.template(longer_flush, environment="staging").templates()["shop-a"]
    assert _bounds(pod) == ("30", "9.5", 30 + 30 + 10 + RELEASE_S + SLACK_S)


def test_a_manifest_that_says_no_unwind_and_flush_has_the_default_ones(helm: Helm) -> None:
    theirs = {"queuesManifest": manifest(a="a")}
    assert _bounds(helm.template(theirs, environment="staging").templates()["shop-a"]) == ("5", "3", 30 + 15)


def test_what_code_declares_lies_between_defaults_and_overrides(helm: Helm) -> None:
    theirs = {"queuesManifest": manifest(a="a", b="b")}
    defaults = {"drainSeconds": 45, "minReplicas": 3, "scaleDown": {"maxPercent": 50}}
    override = {"slots": 9, "longActivities": False, "minReplicas": 0, "scaleDown": {"stabilizationWindowSeconds": 0}}
    plain = helm.template(theirs, environment="staging").of("WorkerPool")["a"]["spec"]
    assert (plain["slotsPerReplica"], plain["longActivities"]) == (7, True)
    objects = helm.template({**theirs, "workerDefaults": defaults, "queues": {"a": override}}, environment="staging")
    a, b = (objects.of("WorkerPool")[name]["spec"] for name in "ab")
    assert (b["slotsPerReplica"], b["longActivities"], b["minReplicas"]) == (7, True, 3)
    assert (a["slotsPerReplica"], a["longActivities"], a["minReplicas"]) == (9, False, 0)
    assert a["scaleDown"] == {"stabilizationWindowSeconds": 0, "maxPercent": 50}
    assert objects.templates()["shop-a"]["terminationGracePeriodSeconds"] == 45 + 15
    assert variables(objects.templates()["shop-a"])["FLEET_TEMPORAL__WORKER__MAX_CONCURRENT_ACTIVITIES"] == "9"


def test_a_queue_wakes_with_others_by_their_names_in_temporal(helm: Helm) -> None:
    theirs = {"queuesManifest": manifest(a="A", b="b/2", c="c")}
    objects = helm.template({**theirs, "queues": {"c": {"wakeWith": ["b", "a"]}}}, environment="staging")
    wakes = {name: pool["spec"]["wakeWith"] for name, pool in objects.of("WorkerPool").items()}
    assert wakes == {"a": [], "b": [], "c": ["b/2", "A"]}


def test_the_example_s_payments_wake_with_the_orders_that_call_them(helm: Helm) -> None:
    wakes = {name: pool["spec"]["wakeWith"] for name, pool in helm.template({}).of("WorkerPool").items()}
    assert wakes == {"orders": [], "payments": ["orders"]}
    none = helm.template({"queues": {"payments": {"wakeWith": []}}}).of("WorkerPool")
    assert none["payments"]["spec"]["wakeWith"] == []


def test_a_retired_queue_may_sleep_is_marked_and_rolls_no_pod(helm: Helm) -> None:
    before = helm.template().workers()["orders"]
    objects = helm.template({"queues": {"orders": {"retired": True}}})
    orders, pool = objects.workers()["orders"], objects.of("WorkerPool")["orders"]
    assert orders["spec"] == before["spec"]
    mark = {"workerfleet.dev/retired": "true"}
    assert orders["metadata"]["labels"] == pool["metadata"]["labels"] == before["metadata"]["labels"] | mark
    assert (pool["spec"]["minReplicas"], pool["spec"]["maxReplicas"]) == (0, 30)
    assert objects.of("WorkerPool")["payments"]["spec"]["minReplicas"] == 2
    assert not mark.keys() & objects.workers()["payments"]["metadata"]["labels"].keys()
    kept = helm.template({"queues": {"orders": {"retired": True, "minReplicas": 1}}}).of("WorkerPool")
    assert kept["orders"]["spec"]["minReplicas"] == 1


def test_a_queue_is_given_back_its_defaults_with_null(helm: Helm) -> None:
    objects = helm.template({"queues": {"orders": None}})
    assert objects.of("WorkerPool")["orders"]["spec"]["maxReplicas"] == 20


def test_variables_add_up_by_name_and_never_come_twice(helm: Helm) -> None:
    values = {
        "env": [{"name": "A", "value": "all"}, {"name": "B", "value": "all"}],
        "workerDefaults": {"env": [{"name": "B", "value": "workers"}, {"name": "C", "value": "workers"}]},
        "queues": {
            "orders": {
                "env": [
                    {"name": "C", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
                    {"name": "A", "value": "1"},
                    {"name": "A", "value": "2"},
                    {"name": "OTEL_RESOURCE_ATTRIBUTES", "value": "team=x"},
                ],
                "envFrom": [{"secretRef": {"name": "own"}}],
            }
        },
        "envFrom": [{"configMapRef": {"name": "all"}}],
        "api": {"enabled": True, "env": [{"name": "B", "value": "api"}]},
    }
    objects = helm.template(values)
    for name, pod in objects.templates().items():
        names = [each["name"] for each in container(pod)["env"]]
        assert len(names) == len(set(names)), name
    pods = objects.templates()
    assert variables(pods["shop-orders"]).items() >= {"A": "2", "B": "workers", "C": None}.items()
    assert variables(pods["shop-orders"])["OTEL_RESOURCE_ATTRIBUTES"] == "team=x"
    assert variables(pods["shop-payments"]).items() >= {"A": "all", "B": "workers", "C": "workers"}.items()
    assert variables(pods["shop-fleet-api"]).items() >= {"A": "all", "B": "api"}.items()
    sources = [{"configMapRef": {"name": "all"}}, {"secretRef": {"name": "own"}}]
    assert container(pods["shop-orders"])["envFrom"] == sources
    assert container(pods["shop-fleet-operator"])["envFrom"] == sources[:1]


def test_what_a_variable_names_stands_before_it(helm: Helm) -> None:
    for pod in helm.template({"api": {"enabled": True}}).templates().values():
        names = list(variables(pod))
        at = names.index("OTEL_RESOURCE_ATTRIBUTES")
        value = variables(pod)["OTEL_RESOURCE_ATTRIBUTES"] or ""
        assert {part.split("(")[1] for part in value.split(")")[:-1]} <= set(names[:at])


def test_a_digest_wins_over_a_tag_everywhere(helm: Helm) -> None:
    digest = f"sha256:{'ab' * 32}"
    objects = helm.template({"image": {"tag": "1.2.3", "digest": digest}})
    for pod in objects.templates().values():
        assert container(pod)["image"] == f"worker-fleet@{digest}"
    orders = objects.workers()["orders"]
    assert orders["metadata"]["labels"]["app.kubernetes.io/version"] == "ab" * 6
    assert variables(orders["spec"]["template"]["spec"])["FLEET_TEMPORAL__WORKER__BUILD_ID"] == digest
    tagged = helm.template({"image": {"tag": "1.2.3"}}).templates()["shop-orders"]
    assert container(tagged)["image"] == "worker-fleet:1.2.3"
    assert variables(tagged)["FLEET_TEMPORAL__WORKER__BUILD_ID"] == "1.2.3"


def test_names_beyond_63_characters_are_cut_and_stay_apart(helm: Helm) -> None:
    long = {f"{'q' * 38}-{end}": f"Q{end}" for end in "ab"}
    values = {"queuesManifest": manifest(**long), "api": {"enabled": True}}
    objects = helm.template(values, environment="staging", release="r" * 53)
    names = [(body["kind"], body["metadata"]["name"]) for body in objects.all]
    assert len(set(names)) == len(names)
    assert all(len(name) <= 63 for _, name in names)
    assert set(objects.workers()) == set(long) == set(objects.of("WorkerPool"))
    labels = [value for body in objects.all for value in body["metadata"]["labels"].values()]
    assert all(len(label) <= 63 for label in labels)


@pytest.mark.parametrize(
    "queue",
    ["y", "1e3", "billing:v2/critical", "{{ .Release.Name }}", 'a"b\n- c: d', "$(POD_NAME) $(HOME)", "ü '%s' \\"],
)
def test_any_task_queue_arrives_as_it_is(helm: Helm, queue: str) -> None:
    objects = helm.template({"queuesManifest": manifest(y=queue)}, environment="staging")
    pod = objects.workers()["y"]["spec"]["template"]["spec"]
    # Kubernetes reads $$(X) as $(X), and $(X) as a variable.
    assert container(pod)["command"][-1].replace("$$(", "$(") == queue
    assert container(pod)["command"][-1].count("$(") == container(pod)["command"][-1].count("$$(")
    assert objects.of("WorkerPool")["y"]["spec"]["taskQueue"] == queue
    assert list(json.loads((variables(pod)["FLEET_QUEUES"] or "").replace("$$(", "$("))) == [queue]


def test_a_queues_resources_and_nodes_are_its_own(helm: Helm) -> None:
    gpu = {
        "resources": {"limits": {"nvidia.com/gpu": 1}},
        "nodeSelector": {"gpu": "true"},
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
        "tmpSizeLimit": "2Gi",
    }
    pods = helm.template({"queues": {"orders": gpu}, "imagePullSecrets": [{"name": "registry"}]}).templates()
    orders, payments = pods["shop-orders"], pods["shop-payments"]
    assert container(orders)["resources"]["limits"] == {"nvidia.com/gpu": 1}
    assert orders["nodeSelector"] == {"gpu": "true"}
    assert orders["tolerations"] == gpu["tolerations"]
    assert orders["volumes"][0]["emptyDir"] == {"sizeLimit": "2Gi"}
    assert "nodeSelector" not in payments
    assert all(pod["imagePullSecrets"] == [{"name": "registry"}] for pod in pods.values())


def test_workers_ask_for_little_and_have_no_cpu_limit(helm: Helm) -> None:
    resources = container(helm.template(environment="dev").templates()["shop-orders"])["resources"]
    assert resources == {"requests": {"cpu": "100m", "memory": "160Mi"}}


def _environment(monkeypatch: pytest.MonkeyPatch, pod: Body) -> None:
    for name, value in variables(pod).items():
        monkeypatch.setenv(name, value if value is not None else "x:")


def _bounds(pod: Body) -> tuple[str | None, str | None, int]:
    """Unwind and flush as the process reads them, and the grace period."""
    unwind_s, flush_s = (variables(pod)[f"FLEET_TEMPORAL__WORKER__{name}_TIMEOUT_S"] for name in ("UNWIND", "FLUSH"))
    return unwind_s, flush_s, pod["terminationGracePeriodSeconds"]
