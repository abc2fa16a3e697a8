"""Idle pods go first when a pool shrinks: real API server, real ReplicaSet controller, pods that nobody runs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from lightkube import ApiError, AsyncClient, KubeConfig
from lightkube.config.models import User

from app.operator.fleet import KubernetesFleet
from app.operator.kube import MANAGER, Kube
from app.operator.objects import Objects
from app.operator.workerpool import INSTANCE_LABEL, POOL_LABEL
from app.scaling.memory import Memory
from app.scaling.policy import Decision, Reason
from tests.cluster.client import Cluster
from tests.local.dev_fleet import until
from tests.operator.pods import bind, names, running_pods, set_ready
from tests.operator.pool import DEPLOYMENT, RELEASE, apply_crd, create_pool

pytestmark = pytest.mark.cluster

ACCOUNT = "operator"
COST = "controller.kubernetes.io/pod-deletion-cost"


@dataclass
class Shrinking:
    """An operator without a loop; `token`: as whom it acts, the tests' own rights without one."""

    cluster: Cluster
    namespace: str
    token: str = ""

    def step(self, *to: int, spare: Sequence[str]) -> dict[str, Any]:
        """A new operator scales to each of `to` as its autoscaler would; the status that was told last."""
        return asyncio.run(self._step(to, spare))

    async def _step(self, to: Sequence[int], spare: Sequence[str]) -> dict[str, Any]:
        config = KubeConfig.from_file(self.cluster.kubeconfig).get()
        assert config
        if self.token:
            config = config._replace(user=User(token=self.token))
        client = AsyncClient(config=config, namespace=self.namespace, field_manager=MANAGER)
        objects = Objects()
        fleet = KubernetesFleet(Kube(client, {INSTANCE_LABEL: RELEASE}), objects, lambda: None)
        for replicas in (None, *to):
            await self._look(fleet, objects, replicas, spare)
        status: dict[str, Any] = json.loads(self.kubectl("get", "wp", "orders", "-o", "json"))["status"]
        return status

    async def _look(self, fleet: KubernetesFleet, objects: Objects, replicas: int | None, spare: Sequence[str]) -> None:
        """Scale, unless `replicas` is None, and report."""
        for _ in range(5):
            objects.due_at = 0.0
            (pool,) = await fleet.pools()
            decision = Decision(replicas or pool.replicas, Reason.DEMAND_FELL, "less to do", Memory())
            try:
                if replicas is not None:
                    await fleet.scale(pool, replicas, spare)
                await fleet.report(pool, None, decision)
            except ApiError as error:
                # The Deployment's controller wrote since the look: the autoscaler too looks again.
                if error.response.status_code != 409:
                    raise
                await asyncio.sleep(0.2)
            else:
                return
        raise AssertionError(f"not scaled to {replicas}: the Deployment never rested")

    def kubectl(self, *args: str, stdin: str | None = None) -> str:
        return self.cluster.kubectl(*args, namespace=self.namespace, stdin=stdin)

    def names(self) -> list[str]:
        return names(self.cluster, self.namespace)

    def has_left(self, *stay: str) -> None:
        """Wait until these pods alone are left, and see that it is so for good."""
        until(lambda: len(self.names()) <= len(stay), 30, 0.1)
        assert self.names() == sorted(stay)

    def costs(self) -> dict[str, str]:
        """Pod -> its cost, of those that have one; those that end are among them."""
        found = json.loads(self.kubectl("get", "pods", "-o", "json"))["items"]
        costs = {pod["metadata"]["name"]: pod["metadata"].get("annotations", {}).get(COST) for pod in found}
        return {name: cost for name, cost in costs.items() if cost}


@pytest.fixture
def shrinking(cluster: Cluster, namespace: str) -> Iterator[Shrinking]:
    apply_crd(cluster)
    create_pool(cluster, namespace)
    yield Shrinking(cluster, namespace)
    # No kubelet will ever say that they ended.
    cluster.kubectl("delete", "deployment", "--all", namespace=namespace)
    cluster.kubectl("delete", "pods", "--all", "--force", "--grace-period=0", namespace=namespace)


def test_idle_pods_go_and_nobody_else_is_touched(shrinking: Shrinking) -> None:
    first, idle, busy, spare = running_pods(shrinking.cluster, shrinking.namespace, 4)
    stranger = _stranger(shrinking)
    status = shrinking.step(2, spare=[idle, "gone", spare, stranger])
    shrinking.has_left(first, busy)
    assert shrinking.costs() == {idle: "-1000", spare: "-1000"}
    assert (status["desiredReplicas"], status["reason"]) == (2, "DemandFell")


def test_only_as_many_are_marked_as_go(shrinking: Shrinking) -> None:
    made = running_pods(shrinking.cluster, shrinking.namespace, 4)
    shrinking.step(3, spare=made[1:])
    until(lambda: len(shrinking.names()) == 3, 30, 0.1)
    assert len(shrinking.costs()) == 1
    assert made[0] in shrinking.names()


def test_a_mark_that_is_no_longer_true_is_taken_back_first(shrinking: Shrinking) -> None:
    busy, idle, other = running_pods(shrinking.cluster, shrinking.namespace, 3)
    shrinking.kubectl("annotate", "pod", busy, f"{COST}=-1000")
    shrinking.step(2, spare=[idle])
    shrinking.has_left(busy, other)
    assert shrinking.costs() == {idle: "-1000"}


def test_what_goes_before_the_idle_ones_costs_no_write(shrinking: Shrinking) -> None:
    idle, busy, unready = running_pods(shrinking.cluster, shrinking.namespace, 3, unready=1)
    shrinking.step(2, spare=[idle])
    shrinking.has_left(idle, busy)
    assert shrinking.costs() == {}, unready


class TestLongActivities:
    """A busy pod never goes, whatever was decided; a person's pin is an order."""

    @pytest.fixture(autouse=True)
    def _long(self, shrinking: Shrinking) -> None:
        patch = '{"spec":{"longActivities":true}}'
        shrinking.kubectl("patch", "wp", "orders", "--type=merge", "-p", patch)

    def test_it_shrinks_by_as_many_as_are_idle(self, shrinking: Shrinking) -> None:
        busy, idle, other = running_pods(shrinking.cluster, shrinking.namespace, 3)
        status = shrinking.step(0, spare=[idle])
        shrinking.has_left(busy, other)
        assert (status["desiredReplicas"], status["reason"]) == (2, "WorkInHand")
        assert status["message"].startswith("2 stay")

    def test_it_does_not_shrink_into_a_pod_of_which_nothing_is_known(self, shrinking: Shrinking) -> None:
        idle, busy, unready = running_pods(shrinking.cluster, shrinking.namespace, 3, unready=1)
        assert shrinking.step(2, spare=[idle])["desiredReplicas"] == 3
        set_ready(shrinking.cluster, shrinking.namespace, unready, False, runs=False)
        assert shrinking.step(2, spare=[idle])["desiredReplicas"] == 2
        shrinking.has_left(idle, busy)

    def test_a_lowered_maximum_is_an_order(self, shrinking: Shrinking) -> None:
        busy, other, idle = running_pods(shrinking.cluster, shrinking.namespace, 3)
        shrinking.kubectl("patch", "wp", "orders", "--type=merge", "-p", '{"spec":{"maxReplicas":1}}')
        assert shrinking.step(1, spare=[idle])["desiredReplicas"] == 1
        until(lambda: len(shrinking.names()) == 1, 30, 0.1)
        assert idle not in shrinking.names(), (busy, other)

    def test_without_the_right_it_shrinks_when_all_are_idle(
        self, shrinking: Shrinking, caplog: pytest.LogCaptureFixture
    ) -> None:
        made = running_pods(shrinking.cluster, shrinking.namespace, 3)
        shrinking.token = _account_without_pods(shrinking)
        assert shrinking.step(2, spare=made[:2])["desiredReplicas"] == 3
        assert shrinking.step(2, spare=made)["desiredReplicas"] == 2
        assert shrinking.costs() == {}
        assert "operator.podDeletionCost" in caplog.text


def test_without_the_right_a_pool_shrinks_without_marks_and_says_so_once(
    shrinking: Shrinking, caplog: pytest.LogCaptureFixture
) -> None:
    made = running_pods(shrinking.cluster, shrinking.namespace, 3)
    shrinking.token = _account_without_pods(shrinking)
    assert shrinking.step(2, 1, spare=made[:1])["desiredReplicas"] == 1
    assert shrinking.costs() == {}
    assert caplog.text.count("operator.podDeletionCost") == 1


def _stranger(shrinking: Shrinking) -> str:
    """A pod of another pool, ready as well."""
    labels = {**DEPLOYMENT["metadata"]["labels"], POOL_LABEL: "payments", "pod-template-hash": "1"}
    pod = {**DEPLOYMENT["spec"]["template"], "kind": "Pod", "apiVersion": "v1"}
    body = {**pod, "metadata": {"name": "stranger", "labels": labels}}
    shrinking.kubectl("create", "-f", "-", stdin=json.dumps(body))
    bind(shrinking.cluster, shrinking.namespace, "stranger")
    set_ready(shrinking.cluster, shrinking.namespace, "stranger", True)
    return "stranger"


def _account_without_pods(shrinking: Shrinking) -> str:
    """The token of a ServiceAccount that may do all that the operator does, and nothing to pods."""
    rules = [
        {"apiGroups": ["workerfleet.dev"], "resources": ["workerpools", "workerpools/status"], "verbs": ["*"]},
        {"apiGroups": ["apps"], "resources": ["deployments", "deployments/scale"], "verbs": ["*"]},
        {"apiGroups": ["autoscaling"], "resources": ["horizontalpodautoscalers"], "verbs": ["list"]},
        {"apiGroups": [""], "resources": ["events"], "verbs": ["create"]},
    ]
    kind = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role"}
    shrinking.kubectl("create", "serviceaccount", ACCOUNT)
    role = {**kind, "metadata": {"name": ACCOUNT}, "rules": rules}
    shrinking.kubectl("create", "-f", "-", stdin=json.dumps(role))
    whom = f"--serviceaccount={shrinking.namespace}:{ACCOUNT}"
    shrinking.kubectl("create", "rolebinding", ACCOUNT, f"--role={ACCOUNT}", whom)
    return shrinking.kubectl("create", "token", ACCOUNT).strip()
