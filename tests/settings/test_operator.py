"""Settings of the operator: which objects it sees, how often it looks, where its probes listen."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from typing import Any

import pytest

from app.core.ports import free_port
from app.core.pulse import Pulse
from app.operator import main as operator
from app.operator.fleet import KubernetesFleet
from app.operator.workerpool import INSTANCE_LABEL
from app.scaling.demand import Observer
from tests.cluster.client import Cluster
from tests.operator.pool import apply_crd
from tests.settings.case import SIDES, case, check, settings

PLACES = ("shops", "mails")
SEEN = (
    case("operator.namespace", *PLACES),
    case("operator.release", "shop", "mail"),
    case("operator.poll_s", 3, 4),
    case("operator.calls_per_s", 10, 20),
)
PROBES = (
    case("operator.health_host", "127.0.0.1", "127.0.0.2"),
    case("operator.health_port", free_port("127.0.0.1"), free_port("127.0.0.2")),
)
CASES = (*SEEN, *PROBES)


class _AtWork(Exception):
    """All that comes before the work is done."""


class _Looking(Exception):
    """The operator was about to look, at these pools."""

    def __init__(self, pools: set[str], observer: Observer, poll_s: float) -> None:
        self.pools = pools
        self.poll_s = poll_s
        self.calls_per_s = observer.starts._asking.per_s


@pytest.mark.cluster
@pytest.mark.timeout(3600)  # the first run builds Kubernetes
@pytest.mark.parametrize("side", SIDES)
def test_the_operator_sees_the_pools_that_the_settings_say(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, side: int
) -> None:
    def looking(_: Any, fleet: KubernetesFleet, observer: Observer, *, poll_s: float) -> None:
        raise _Looking(set(fleet.objects.pools), observer, poll_s)

    monkeypatch.setattr(operator, "Autoscaler", looking)
    for name, value in cluster.environment().items():
        monkeypatch.setenv(name, str(value))
    apply_crd(cluster)
    with cluster.namespace() as first, cluster.namespace() as second:
        for place, namespace in zip(PLACES, (first, second), strict=True):
            for release in ("shop", "mail"):
                cluster.kubectl("create", "-f", "-", namespace=namespace, stdin=_pool(place, release))
        given = settings(SEEN, side, {"operator": {"namespace": (first, second)[side]}})
        with pytest.raises(_Looking) as caught:
            asyncio.run(operator._operate(given, Pulse(60)))
    (pool,) = caught.value.pools
    place, release = pool.split("-")
    check(
        SEEN,
        side,
        {
            "operator.namespace": place,
            "operator.release": release,
            "operator.poll_s": caught.value.poll_s,
            "operator.calls_per_s": caught.value.calls_per_s,
        },
    )


def _pool(place: str, release: str) -> str:
    return json.dumps(
        {
            "apiVersion": "workerfleet.dev/v1alpha1",
            "kind": "WorkerPool",
            "metadata": {"name": f"{place}-{release}", "labels": {INSTANCE_LABEL: release}},
            "spec": {"taskQueue": "orders"},
        }
    )


@pytest.mark.parametrize("side", SIDES)
def test_the_operators_probes_listen_where_the_settings_say(monkeypatch: pytest.MonkeyPatch, side: int) -> None:
    async def look(*_: Any) -> None:
        raise _AtWork

    monkeypatch.setattr(operator, "begin", lambda _: settings(PROBES, side))
    monkeypatch.setattr(operator, "_operate", look)
    # It would end this process, which never looks.
    monkeypatch.setattr(Pulse, "watch", lambda _: None)
    before = _live()
    with pytest.raises(_AtWork):
        operator.main()
    ((host, port),) = _live() - before
    check(PROBES, side, {"operator.health_host": host, "operator.health_port": port})


def _live() -> set[tuple[str, int]]:
    """Where probes answer, of all the places that the values name."""
    hosts, ports = (each.values for each in PROBES)
    return {(host, port) for host in hosts for port in ports if _is_live(host, port)}


def _is_live(host: str, port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://{host}:{port}/livez", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
