"""What the fleet makes of a person, a crash and a lost answer. The API server is a model here, beside the real one's
tests (test_guards.py, tests/cluster/test_control.py): each moment between two of its answers can be had."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, cast

import httpx2
import kopf
import pytest
from lightkube.core.exceptions import ApiError

from app.operator.fleet import KubernetesFleet
from app.operator.kube import Kube
from app.operator.objects import Objects, _keep
from app.operator.workerpool import POOL_LABEL
from app.scaling.demand import Demand, WorkerLoad
from app.scaling.fleet import Pool
from app.scaling.memory import Memory
from app.scaling.policy import Decision, Reason

OURS = "workerfleet-operator"
CREATED = "2026-01-01T00:00:00Z"


def refusal(code: int, message: str) -> ApiError:
    request = httpx2.Request("PATCH", "https://api")
    return ApiError(request, httpx2.Response(code, request=request, json={"kind": "Status", "message": message}))


@dataclass
class Server:
    """One WorkerPool and its Deployment; `owner` is who set the replicas. Stands in for `Kube`."""

    replicas: int = 1
    owner: str = ""
    spec: dict[str, Any] = field(default_factory=dict)
    status: dict[str, Any] = field(default_factory=dict)
    version: int = 1
    uid: str = "d1"
    pool_uid: str = "p1"
    created: str = CREATED
    deployments: int = 1
    written: list[int] = field(default_factory=list)
    statuses: int = 0
    events: list[str] = field(default_factory=list)
    lose: str = ""
    """"answer" or "request" of the next /scale."""
    policy: bool = False
    """Whether trial writes are refused."""
    marked: list[str] = field(default_factory=list)
    unmarkable: int = 0
    """The code that marks are refused with."""
    denies: int | None = None
    """More replicas than these are refused."""
    conflicts: bool = False
    """Whether each write is one."""
    autoscalers: dict[str, str] = field(default_factory=dict)
    refuses: dict[str, int] = field(default_factory=dict)
    """The code that a list of pools or of Deployments is refused with."""

    def by_hand(self, replicas: int, owner: str = "kubectl") -> None:
        self.replicas, self.owner, self.version = replicas, owner, self.version + 1

    async def list_pools(self) -> list[dict[str, Any]]:
        self._list("pools")
        metadata = {"name": "orders", "namespace": "shop", "uid": self.pool_uid}
        return [{"metadata": metadata, "spec": {"taskQueue": "orders", **self.spec}, "status": dict(self.status)}]

    async def list_deployments(self) -> list[dict[str, Any]]:
        self._list("deployments")
        return [self.deployment(number) for number in range(self.deployments)]

    def deployment(self, number: int) -> dict[str, Any]:
        metadata = {"uid": self.uid, "resourceVersion": str(self.version), "creationTimestamp": self.created}
        labels = {POOL_LABEL: "orders"}
        spec = {"replicas": self.replicas, "selector": {"matchLabels": {"a": "b"}}}
        return {"metadata": {"name": f"shop-orders-{number}", "labels": labels, **metadata}, "spec": spec}

    def _list(self, kind: str) -> None:
        if (code := self.refuses.get(kind)) == 429:
            # The API server's own limit answers in plain text, of which lightkube makes no ApiError.
            request = httpx2.Request("GET", "https://api")
            httpx2.Response(code, request=request, text="Too many requests, please try again later.").raise_for_status()
        elif code:
            raise refusal(code, "no lists")

    async def list_autoscalers(self) -> dict[str, str]:
        return dict(self.autoscalers)

    async def foreign_manager(self, deployment: str, live: int) -> str | None:
        if self.policy:
            raise refusal(403, "denied by a policy")
        return None if self.owner == OURS else self.owner or "before-first-apply"

    async def scale(self, deployment: str, replicas: int, version: str) -> None:
        lose, self.lose = self.lose, ""
        if lose == "request":
            raise httpx2.ReadTimeout("no answer")
        if self.denies is not None and replicas > self.denies:
            raise refusal(403, f"no more than {self.denies}")
        if self.conflicts or version != str(self.version):
            raise refusal(409, "the object has been modified")
        self.written.append(replicas)
        self.by_hand(replicas, OURS)
        if lose == "answer":
            raise httpx2.ReadTimeout("no answer")

    async def list_pods(self, labels: dict[str, str]) -> list[dict[str, Any]]:
        status = {"conditions": [{"type": "Ready", "status": "True"}]}
        template = {"pod-template-hash": "1"}
        names = (f"pod-{number}" for number in range(self.replicas))
        return [{"metadata": {"name": name, "labels": template}, "status": status} for name in names]

    async def set_cost(self, pod: str, cost: int | None) -> None:
        if self.unmarkable:
            raise refusal(self.unmarkable, "no mark")
        before = list(self.written)
        await asyncio.sleep(0.01)
        assert self.written == before, "the replicas were written before the answer"
        self.marked.append(pod)

    async def write_status(self, pool: str, status: dict[str, Any]) -> None:
        self.statuses += 1
        self.status = {key: value for key, value in (self.status | status).items() if value is not None}

    async def emit(self, pool: object, reason: str, message: str, *, warning: bool = False) -> None:
        self.events.append(f"{reason} {message}")


class Operator:
    """A process; `tell` is what its watch does."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.objects = Objects()
        self.wanted: int | None = None
        self.now = datetime(2026, 2, 1, tzinfo=UTC)
        self.fleet = KubernetesFleet(cast(Kube, server), self.objects, lambda: None, lambda: self.now)

    async def tell(self) -> None:
        self.objects.due_at = 0.0
        await self.objects.refresh(cast(Kube, self.server))

    async def look(
        self,
        want: int | None = None,
        meanwhile: Callable[[], object] = lambda: None,
        told: bool = True,
        spare: Sequence[str] = (),
    ) -> Pool:
        """One look. `want`: the decision, None keeps what is there; `meanwhile` happens between look and write."""
        if told:
            await self.tell()
        (pool,) = await self.fleet.pools()
        meanwhile()
        decision = Decision(pool.replicas if want is None else want, Reason.BACKLOG_WAITING, "work waits", Memory())
        refused: Exception | None = None
        if pool.automatic and decision.replicas != pool.replicas:
            try:
                self.wanted = await self.fleet.scale(pool, decision.replicas, spare)
            except Exception as error:  # noqa: BLE001 - as the autoscaler does
                refused = error
        idle = tuple(WorkerLoad(name, 0, 1, False, 0.0) for name in spare)
        await self.fleet.report(pool, Demand("orders", (), idle), decision)
        if refused is not None:
            raise refused
        return pool


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def operator(server: Server) -> Operator:
    made = Operator(server)
    asyncio.run(made.look())
    assert (server.owner, server.status["mode"]) == (OURS, "Automatic"), "what is there was adopted"
    return made


@pytest.mark.parametrize("code", [403, 429, 503])
@pytest.mark.parametrize("kind", ["pools", "deployments"])
def test_a_refused_list_leaves_what_is_watched(server: Server, operator: Operator, kind: str, code: int) -> None:
    def watched() -> None:
        operator.objects.deployments["shop-orders-0"] = server.deployment(0)

    async def lives() -> None:
        server.refuses[kind] = code
        watched()
        await operator.look(2)
        assert server.replicas == 2
        due_at = operator.objects.due_at
        assert operator.objects.refused
        assert 1 < due_at - time.monotonic() <= 10, "sooner than after a list that came, and not at each look"
        server.by_hand(5)
        watched()
        await operator.look(told=False)
        assert server.status["mode"] == "Held"
        assert operator.objects.due_at == due_at
        server.refuses.clear()
        await operator.tell()
        assert not operator.objects.refused

    asyncio.run(lives())


@pytest.mark.parametrize("code", [403, 429])
def test_a_first_list_that_is_refused_is_no_beginning(code: int) -> None:
    objects, server = Objects(), Server(refuses={"deployments": code})
    for _ in range(2):
        with pytest.raises(httpx2.HTTPStatusError):
            asyncio.run(objects.refresh(cast(Kube, server)))
    assert not objects.refused


def test_a_write_whose_answer_was_lost_is_ours(server: Server, operator: Operator) -> None:
    server.lose = "answer"
    with pytest.raises(httpx2.ReadTimeout):
        asyncio.run(operator.look(5))
    assert asyncio.run(operator.look()).replicas == 5
    assert (server.status["mode"], server.status["desiredReplicas"]) == ("Automatic", 5)


def test_a_write_that_never_arrived_is_not_believed(server: Server, operator: Operator) -> None:
    server.lose = "request"
    with pytest.raises(httpx2.ReadTimeout):
        asyncio.run(operator.look(5))
    assert asyncio.run(operator.look()).replicas == 1
    asyncio.run(operator.look(5))
    assert server.replicas == 5


def test_a_write_that_the_watch_has_not_brought_back_is_not_written_again(server: Server, operator: Operator) -> None:
    asyncio.run(operator.look(5))
    assert asyncio.run(operator.look(told=False)).replicas == 5
    assert server.written == [1, 5]


NEWS: dict[str, Callable[[Operator], object]] = {
    "its spec": lambda operator: operator.server.spec.update(maxReplicas=3),
    "its status": lambda operator: operator.server.status.update(backlog=7),
    "its Deployment": lambda operator: operator.server.by_hand(operator.server.replicas),
    "another Deployment": lambda operator: setattr(operator.server, "deployments", 2),
    "an autoscaler": lambda operator: operator.server.autoscalers.update({"shop-orders-0": "hpa"}),
}


@pytest.mark.parametrize("news", NEWS.values(), ids=NEWS)
def test_a_pool_is_the_same_object_until_there_is_news(operator: Operator, news: Callable[[Operator], object]) -> None:
    async def run() -> None:
        first, second = [await operator.look() for _ in range(3)][1:]
        assert second is first
        news(operator)
        third = await operator.look()
        assert third is not second

    asyncio.run(run())


def test_a_refusal_is_not_told_any_more_once_nothing_is_refused(server: Server, operator: Operator) -> None:
    server.denies = 1

    async def run() -> None:
        for _ in range(3):
            with pytest.raises(ApiError):
                await operator.look(5)
        assert server.status["reason"] == "FailedUpdateScale"
        await operator.look()
        assert server.status["reason"] == "BacklogWaiting"

    asyncio.run(run())


@pytest.mark.parametrize("spec", [{"paused": True}, {"replicas": 1}, {}])
def test_a_pool_that_a_person_decides_on_is_looked_at_each_time(spec: dict[str, Any]) -> None:
    async def run() -> None:
        operator = Operator(Server(spec=spec))
        await operator.look()
        operator.server.by_hand(1 if spec else 3)
        first, second = [await operator.look() for _ in range(4)][2:]
        assert second is not first
        assert not first.automatic

    asyncio.run(run())


def test_each_mark_is_answered_before_the_replicas_are_written(server: Server, operator: Operator) -> None:
    asyncio.run(operator.look(5))
    server.spec["replicas"] = 2  # a pin, for which idle pods go first as well
    asyncio.run(operator.look(spare=["pod-1", "pod-3", "pod-4"]))
    assert server.marked == ["pod-1", "pod-3", "pod-4"]
    assert server.replicas == 2


@pytest.mark.parametrize("code", [403, 500])
def test_a_mark_that_fails_puts_the_shrink_off_and_one_that_is_forbidden_does_not(
    server: Server, operator: Operator, code: int
) -> None:
    asyncio.run(operator.look(5))
    server.unmarkable = code
    try:
        asyncio.run(operator.look(4, spare=["pod-1"]))
    except ApiError:
        assert code == 500
    assert server.replicas == (4 if code == 403 else 5)
    assert server.status["reason"] == ("BacklogWaiting" if code == 403 else "FailedUpdateScale")


def test_a_shrink_that_would_take_a_pod_with_work_writes_nothing(server: Server, operator: Operator) -> None:
    server.spec["longActivities"] = True
    asyncio.run(operator.look(5))
    server.unmarkable = 403
    asyncio.run(operator.look(4, spare=["pod-1"]))
    assert server.written == [1, 5]
    assert operator.wanted == 5
    assert (server.status["desiredReplicas"], server.status["reason"]) == (5, "WorkInHand")
    assert [event.split()[0] for event in server.events] == ["BacklogWaiting"]


def test_a_number_that_was_held_is_ours_when_the_hold_ends_and_work_keeps_it(
    server: Server, operator: Operator
) -> None:
    server.spec["longActivities"] = True
    server.unmarkable = 403
    server.by_hand(5)
    asyncio.run(operator.look())
    assert server.status["mode"] == "Held"
    operator.now += timedelta(hours=1)
    asyncio.run(operator.look(4, spare=["pod-1"]))
    assert (server.owner, server.status["mode"], server.status["desiredReplicas"]) == (OURS, "Automatic", 5)


def test_what_the_watch_tells_before_the_answer_to_a_write_is_newer_than_it(server: Server, operator: Operator) -> None:
    answer = server.scale

    async def told_first(deployment: str, replicas: int, version: str) -> None:
        await answer(deployment, replicas, version)
        server.by_hand(7)
        await operator.tell()

    server.scale = told_first  # type: ignore[method-assign]
    asyncio.run(operator.look(5))
    assert asyncio.run(operator.look(told=False)).replicas == 7
    assert server.status["mode"] == "Held"


@pytest.mark.parametrize("told", [True, False], ids=["the watch tells", "the watch is late"])
def test_who_scales_between_look_and_write_is_not_overwritten(server: Server, operator: Operator, told: bool) -> None:
    def person() -> None:
        server.by_hand(0)
        if told:
            operator.objects.deployments = {
                name: body | {"spec": body["spec"] | {"replicas": 0}}
                for name, body in operator.objects.deployments.items()
            }

    with pytest.raises(RuntimeError if told else ApiError):
        asyncio.run(operator.look(4, meanwhile=person))
    assert server.replicas == 0
    assert told or server.events == [], "the next look tells what it is"
    asyncio.run(operator.look(4, told=told))
    assert (server.replicas, server.status["mode"]) == (0, "Held")


def test_a_conflict_that_lasts_is_told(server: Server, operator: Operator) -> None:
    server.conflicts = True
    for _ in range(3):
        with pytest.raises(ApiError):
            asyncio.run(operator.look(4))
    assert server.events == ["FailedUpdateScale the object has been modified"]
    assert server.status["reason"] == "FailedUpdateScale"
    server.conflicts = False
    asyncio.run(operator.look(4))
    assert server.replicas == 4


def test_a_write_that_is_refused_for_good_is_shown_once_and_at_every_look(server: Server, operator: Operator) -> None:
    server.denies = 3
    for _ in range(3):
        with pytest.raises(ApiError):
            asyncio.run(operator.look(5))
    assert (server.status["reason"], server.status["message"]) == ("FailedUpdateScale", "no more than 3")
    assert server.events == ["FailedUpdateScale no more than 3"]
    assert server.replicas == server.status["desiredReplicas"] == 1
    server.spec["replicas"] = 4
    with pytest.raises(ApiError):
        asyncio.run(operator.look())
    assert (server.status["mode"], server.status["message"]) == ("Pinned", "no more than 3")
    server.denies = None
    asyncio.run(operator.look())
    assert (server.replicas, server.status["reason"]) == (4, "Pinned")


def test_what_a_watch_tells_again_stays_where_it_is_in_memory(operator: Operator) -> None:
    (name,) = operator.objects.pools
    known = operator.objects.pools[name]
    keep = partial(_keep, operator.objects.pools, type=None, name=name)
    again = json.loads(json.dumps(known))
    asyncio.run(keep(body=kopf.Body(again)))
    assert operator.objects.pools[name] is known
    again["spec"]["paused"] = True
    asyncio.run(keep(body=kopf.Body(again)))
    assert operator.objects.pools[name]["spec"]["paused"]


def test_a_pin_to_the_number_that_is_there_is_a_pin(server: Server, operator: Operator) -> None:
    server.by_hand(3)
    asyncio.run(operator.look())
    server.spec["replicas"] = 3
    asyncio.run(operator.look())
    assert (server.status["mode"], server.status["desiredReplicas"]) == ("Pinned", 3)
    del server.spec["replicas"]
    asyncio.run(operator.look())
    assert server.status["mode"] == "Automatic", "not held by whoever scaled before the pin"


def test_a_pool_that_was_paused_goes_on_from_what_was_made_of_it(server: Server, operator: Operator) -> None:
    server.spec["paused"] = True
    asyncio.run(operator.look(4))
    server.by_hand(2)
    asyncio.run(operator.look(4))
    assert (server.replicas, server.status["mode"]) == (2, "Paused")
    del server.spec["paused"]
    assert asyncio.run(operator.look()).replicas == 2
    assert server.status["mode"] == "Automatic", "and nothing is held"
    assert server.owner == OURS, "or a lost write of ours would look like a person's"
    asyncio.run(operator.look(4))
    assert server.replicas == 4


def test_the_end_of_a_hold_is_told_and_is_no_scaling(server: Server, operator: Operator) -> None:
    server.by_hand(3)
    asyncio.run(operator.look())
    statuses = server.statuses
    operator.now += timedelta(seconds=800)
    asyncio.run(operator.look())
    assert server.statuses == statuses, "time alone is no news"
    operator.now += timedelta(seconds=100)
    asyncio.run(operator.look())
    assert server.events == [
        "Held kubectl set 3; held until 2026-02-01T00:15:00Z",
        "Released 3 replicas are no longer held",
    ]
    assert "lastScaleTime" not in server.status
    asyncio.run(operator.look(2))
    assert server.events[-1] == "BacklogWaiting 3 -> 2 replicas: work waits"
    assert "lastScaleTime" in server.status


def test_a_deployment_that_was_made_anew_is_adopted_as_it_is(server: Server, operator: Operator) -> None:
    asyncio.run(operator.look(5))
    server.uid, server.created = "d2", "2026-03-01T00:00:00Z"
    server.by_hand(1, "helm")
    assert asyncio.run(operator.look()).replicas == 1
    assert (server.status["mode"], server.owner) == ("Automatic", OURS)


def test_a_pool_that_was_made_anew_gets_its_status(server: Server, operator: Operator) -> None:
    server.pool_uid, server.status = "p2", {}
    asyncio.run(operator.look())
    assert server.status["mode"] == "Automatic"


@pytest.mark.parametrize(("deployments", "text"), [(0, "no Deployments have"), (2, "2 Deployments have")])
def test_a_pool_without_its_one_deployment_says_so(
    server: Server, operator: Operator, deployments: int, text: str
) -> None:
    server.deployments = deployments
    written = list(server.written)
    asyncio.run(operator.look(4))
    assert server.status["message"] == f"{text} the label workerfleet.dev/pool=orders"
    assert server.written == written
    assert "desiredReplicas" not in server.status, "it was another Deployment's"
    server.deployments = 1
    asyncio.run(operator.look())
    assert server.status["mode"] == "Automatic"


def test_a_pool_whose_trial_write_is_refused_says_so_and_is_left_alone(server: Server, operator: Operator) -> None:
    server.policy = True
    server.by_hand(3)
    asyncio.run(operator.look(4))
    assert server.status["message"] == "who set 3 replicas is not known: denied by a policy"
    assert server.replicas == 3
    server.spec["replicas"] = 2
    asyncio.run(operator.look())
    assert server.replicas == 2, "a pin needs no trial"


def test_a_refused_trial_does_not_begin_a_hold_anew(server: Server, operator: Operator) -> None:
    server.by_hand(3)
    asyncio.run(operator.look())
    since = server.status["heldSince"]
    operator.now += timedelta(seconds=600)
    server.policy = True
    asyncio.run(operator.look())
    server.policy = False
    asyncio.run(operator.look())
    assert server.status["heldSince"] == since
    operator.now += timedelta(seconds=300)
    asyncio.run(operator.look())
    assert server.status["mode"] == "Automatic"


def test_a_new_process_remembers_a_hold_by_the_status(server: Server, operator: Operator) -> None:
    server.by_hand(3)
    asyncio.run(operator.look())
    since = server.status["heldSince"]
    asyncio.run(Operator(server).look())
    assert (server.status["mode"], server.status["heldSince"]) == ("Held", since)


def test_a_list_does_not_take_back_what_the_watch_told_meanwhile(server: Server) -> None:
    objects = Objects()

    class Slow(Server):
        async def list_deployments(self) -> list[dict[str, Any]]:
            listed = await super().list_deployments()
            objects.deployments["shop-orders-0"] = listed[0] | {"spec": listed[0]["spec"] | {"replicas": 7}}
            objects.deployments.pop("gone", None)
            return [*listed, {"metadata": {"name": "gone"}}]

    async def run() -> None:
        kube = cast(Kube, Slow())
        objects.deployments = {"gone": {"metadata": {"name": "gone"}}}
        await objects.refresh(kube)
        assert objects.deployments["shop-orders-0"]["spec"]["replicas"] == 7
        assert "gone" not in objects.deployments

    asyncio.run(run())
