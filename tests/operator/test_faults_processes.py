"""Operators that are killed, doubled or frozen: one number after the other, none of them twice, none taken back."""

from __future__ import annotations

import asyncio
import time
from functools import partial

import pytest
from lightkube import AsyncClient, KubeConfig
from lightkube.core.exceptions import ApiError

from app.operator.fleet import KubernetesFleet
from app.operator.kube import MANAGER, Kube
from app.operator.objects import Objects
from app.operator.workerpool import INSTANCE_LABEL
from tests.cluster.replicas import ReplicasWatch, holds
from tests.operator.pool import RELEASE

from .conftest import GROWING, Laboratory
from .process import until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3600)]  # the first run builds Kubernetes

DEPLOYMENT = f"{RELEASE}-orders"
LIFE_S = 5.0


def events(lab: Laboratory) -> list[str]:
    columns = 'jsonpath={range .items[*]}{.reason} {.message}{"\\n"}{end}'
    lines = lab.kubectl("get", "events", "--field-selector=involvedObject.kind=WorkerPool", "-o", columns)
    return lines.splitlines()


def test_an_operator_that_is_killed_every_five_seconds_gets_there(lab: Laboratory) -> None:
    lab.create(replicas=0, **GROWING)
    lives = 6
    with ReplicasWatch(lab.cluster, lab.namespace) as watch:
        for number in range(lives):
            with lab.operator() as running:
                # Every other one finds nothing to do.
                if number % 2 == 0:
                    lab.start_workflows(10)
                until(partial(running.said, "scaling the pools"), 60, "a start")
                time.sleep(LIFE_S)
        with lab.operator():
            lab.until_replicas(lives)
            lab.until(mode="Automatic", desiredReplicas=lives)
    numbers = watch.seen[DEPLOYMENT]
    assert numbers == sorted(set(numbers)), "never back"
    # Each process makes the number that it finds its own, which changes nothing.
    assert lab.scalings().count(200) <= len(numbers) - 1 + lives + 1
    assert holds(events(lab)) == []


def test_two_operators_want_the_same_and_do_not_fight(lab: Laboratory) -> None:
    lab.create(replicas=0, **GROWING)
    with ReplicasWatch(lab.cluster, lab.namespace) as watch, lab.operator() as one, lab.operator() as other:
        for number in range(2, 8, 2):
            lab.start_workflows(10)
            lab.until_replicas(number)
        time.sleep(5)
        before = lab.scalings()
        time.sleep(10)
        assert lab.scalings() == before, "and then both are content"
        assert one.lives()
        assert other.lives()
    numbers = watch.seen[DEPLOYMENT]
    assert numbers == sorted(set(numbers))
    assert holds(events(lab)) == []


@pytest.mark.parametrize("frozen_s", [20, 75], ids=["past each limit of a call", "past the watchdog's limit"])
def test_an_operator_that_was_frozen_takes_nothing_back(lab: Laboratory, frozen_s: int) -> None:
    lab.create(replicas=0, **GROWING)
    with ReplicasWatch(lab.cluster, lab.namespace) as watch, lab.operator() as stale:
        lab.start_workflows(10)
        lab.until_replicas(2)
        stale.freeze()
        with lab.operator() as fresh:
            lab.start_workflows(20)
            lab.until_replicas(6)
            time.sleep(frozen_s)
            stale.go_on()
            time.sleep(10)
            assert lab.replicas() == 6
            lab.patch({"replicas": 8})
            lab.until_replicas(8)
            assert fresh.lives()
    numbers = watch.seen[DEPLOYMENT]
    assert numbers == sorted(set(numbers))
    assert holds(events(lab)) == []


def test_a_number_that_was_decided_before_another_ones_write_is_not_written(lab: Laboratory) -> None:
    lab.create(replicas=1, **GROWING)

    async def run() -> None:
        stale, fresh = _fleet(lab), _fleet(lab)
        (old,) = await stale.pools()
        await _scale(fresh, 6)
        with pytest.raises(ApiError) as refused:
            await stale.scale(old, 2, [])
        assert refused.value.response.status_code == 409
        assert lab.replicas() == 6
        (again,) = await stale.pools()
        assert (again.replicas, again.automatic) == (6, True), "the other one's number is no person's"
        await _scale(stale, 7)
        assert lab.replicas() == 7

    asyncio.run(run())


async def _scale(fleet: KubernetesFleet, replicas: int) -> None:
    """Over a look of its own, and another one where the Deployment's controller wrote since, as an autoscaler would."""
    for _ in range(20):
        fleet.objects.due_at = 0.0
        (pool,) = await fleet.pools()
        try:
            await fleet.scale(pool, replicas, [])
            return
        except ApiError as error:
            if error.response.status_code != 409:
                raise
        await asyncio.sleep(0.2)
    raise AssertionError(f"not scaled to {replicas}: the Deployment never rested")


def _fleet(lab: Laboratory) -> KubernetesFleet:
    config = KubeConfig.from_file(lab.cluster.kubeconfig).get()
    client = AsyncClient(config=config, namespace=lab.namespace, field_manager=MANAGER)
    return KubernetesFleet(Kube(client, {INSTANCE_LABEL: RELEASE}), Objects(), lambda: None)
