"""The loop, with a real Temporal and a fleet that only writes down what it is told."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import grpc  # type: ignore[import-untyped]
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import REGISTRY
from temporalio.client import Client

from app.core.services.temporal import workflow_starts
from app.core.services.temporal.asking import Asking
from app.scaling import autoscaler as autoscaler_module
from app.scaling import demand as demand_module
from app.scaling.autoscaler import Autoscaler
from app.scaling.demand import Demand, Observer
from app.scaling.fleet import FleetGone, Pool
from app.scaling.policy import Decision, Policy, Reason
from tests.parts.grpc_proxy import Proxy, grpc_proxy
from tests.parts.temporal import freeze

from .conftest import OwnServer
from .looks import POLICY, SLEEPY
from .work import HEARTBEAT_S, connect, look, new_queue, observer, of, pod, start, until


@dataclass
class SimulatedFleet:
    """Has the replicas it was last told to have; `broken`: the pool that cannot be scaled; `slow`: one that hangs.

    It `keeps` so many of each, whatever is asked."""

    held: dict[str, Pool]
    broken: str = ""
    slow: str = ""
    keeps: int = 0
    scaled: list[tuple[str, int, Sequence[str]]] = field(default_factory=list)
    reports: list[tuple[Demand | None, Decision]] = field(default_factory=list)

    async def pools(self) -> Sequence[Pool]:
        return list(self.held.values())

    async def scale(self, pool: Pool, replicas: int, spare: Sequence[str]) -> int:
        if pool.name == self.broken:
            raise ConnectionError("the node is gone")
        if pool.name == self.slow:
            await asyncio.sleep(60)
        self.scaled.append((pool.name, replicas, spare))
        self.held[pool.name] = replace(pool, replicas=max(replicas, self.keeps))
        return self.held[pool.name].replicas

    async def report(self, pool: Pool, demand: Demand | None, decision: Decision) -> None:
        self.reports.append((demand, decision))


def fleet_of(*policies: Policy, replicas: int = 0, broken: str = "", slow: str = "") -> SimulatedFleet:
    pools = [Pool(p.task_queue, p, ("workflow", "activity"), replicas, ready=replicas) for p in policies]
    return SimulatedFleet({pool.name: pool for pool in pools}, broken, slow)


CONNECT_S = 0.05


def autoscaler_of(client: Client | Exception, fleet: SimulatedFleet, poll_s: float = 0.2) -> Autoscaler:
    async def factory() -> Client:
        await asyncio.sleep(CONNECT_S)
        if isinstance(client, Exception):
            raise client
        return client

    return Autoscaler(factory, fleet, observer(timeout_s=10), poll_s=poll_s)


async def backlog(client: Client, queue: str, count: int) -> None:
    """`count` workflows that wait, as the statistics tell it."""
    await asyncio.gather(*(start(client, queue, "quick", 1) for _ in range(count)))
    await until(lambda: look(client, queue), lambda d: of(d, "workflow").backlog == count)


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(autoscaler_module, "tracer", provider.get_tracer("test"))
    return exporter


def metric(name: str, queue: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(f"fleet_operator_{name}", {"task_queue": queue, **labels})


def test_a_pool_that_others_scale_is_reported_and_left_alone(
    temporal_address: str, spans: InMemorySpanExporter, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "app.scaling")

    async def run() -> None:
        client, queue = await connect(temporal_address), new_queue()
        fleet = fleet_of(replace(SLEEPY, task_queue=queue))
        fleet.held[queue] = replace(fleet.held[queue], automatic=False)
        await backlog(client, queue, 50)
        decisions = await autoscaler_of(client, fleet).tick()
        assert decisions[queue].replicas == 3, "what it would do"
        assert [decision for _, decision in fleet.reports] == [decisions[queue]]
        assert fleet.scaled == []

    asyncio.run(run())
    assert caplog.messages == []
    assert spans.get_finished_spans() == ()


def test_a_backlog_is_one_jump(
    temporal_address: str, spans: InMemorySpanExporter, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "app.scaling")

    async def run() -> None:
        client, queue = await connect(temporal_address), new_queue()
        fleet = fleet_of(replace(SLEEPY, task_queue=queue))
        autoscaler = autoscaler_of(client, fleet)
        await backlog(client, queue, 50)
        first = await autoscaler.tick()
        for _ in range(5):
            await autoscaler.tick()
        assert fleet.scaled == [(queue, 3, [])]
        assert (first[queue].replicas, first[queue].reason) == (3, Reason.WAKE_UP)
        assert first[queue].message == "50 workflow tasks wait, 20 a replica: needs 3"
        assert len(fleet.reports) == 6
        assert caplog.messages == [f"{queue}: 0 -> 3 replicas, WakeUp: {first[queue].message}"]

        (span,) = spans.get_finished_spans()
        assert span.name == "ScaleDecision"
        assert dict(span.attributes or {}) == {
            "temporalTaskQueue": queue,
            "fleet.replicas.from": 0,
            "fleet.replicas.to": 3,
            "fleet.reason": "WakeUp",
            "fleet.message": first[queue].message,
        }
        assert (span.end_time or 0) - (span.start_time or 0) > CONNECT_S * 1e9, "looking is a part of the span"

        assert metric("desired_replicas", queue) == 3
        assert metric("backlog_tasks", queue, task_type="workflow") == 50
        assert metric("used_slots", queue, task_type="activity") == 0
        assert metric("scale_decisions_total", queue, direction="up", reason="WakeUp") == 1
        assert metric("last_success_timestamp_seconds", queue) == pytest.approx(time.time(), abs=5)

    asyncio.run(run())


def test_idle_workers_are_named_as_spare(temporal_address: str) -> None:
    async def run() -> None:
        client, queue = await connect(temporal_address), new_queue()
        policy = replace(POLICY, task_queue=queue, stabilization_window_s=0, max_percent=100)
        async with pod(temporal_address, queue, "pod-1"), pod(temporal_address, queue, "pod-2"):
            await start(client, queue, "hold", 1)
            seen = await until(
                lambda: look(client, queue), lambda d: of(d, "activity").used_slots == 1 and len(d.running) == 2
            )
            (idle,) = [w.identity for w in seen.running if w.used_slots == 0]
            fleet = fleet_of(policy, replicas=2)
            await autoscaler_of(client, fleet).tick()
            assert fleet.scaled == [(queue, 1, [idle])]

    asyncio.run(run())


def test_what_the_fleet_keeps_is_not_told_as_gone(
    temporal_address: str, spans: InMemorySpanExporter, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "app.scaling")

    async def run() -> None:
        client, queue = await connect(temporal_address), new_queue()
        fleet = fleet_of(replace(POLICY, task_queue=queue, max_replicas=3), replicas=5)
        fleet.keeps = 5
        decisions = await autoscaler_of(client, fleet).tick()
        assert (decisions[queue].replicas, [n for _, n, _ in fleet.scaled]) == (3, [3])
        assert metric("desired_replicas", queue) == 5
        (span,) = spans.get_finished_spans()
        assert (span.attributes or {})["fleet.replicas.to"] == 5

    asyncio.run(run())
    assert caplog.messages == []


def test_a_temporal_out_of_reach_holds_all_pools_and_is_told_once(
    own_server: OwnServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "app.scaling")

    async def run() -> None:
        first, second = new_queue(), new_queue()
        fleet = fleet_of(replace(POLICY, task_queue=first), replace(POLICY, task_queue=second), replicas=3)
        autoscaler = autoscaler_of(await connect(own_server.address), fleet)
        asking = Asking(1000, timeout_s=10)
        autoscaler.observer = Observer(asking, HEARTBEAT_S)
        await autoscaler.tick()
        assert metric("backlog_tasks", first, task_type="workflow") == 0
        freeze(own_server.process)
        # Short only now: a server that was frozen for long comes back slowly, and a busy one answers late.
        asking.timeout_s = 0.5
        try:
            for _ in range(3):
                held = await autoscaler.tick()
                assert {(d.replicas, d.reason) for d in held.values()} == {(3, Reason.DEMAND_UNKNOWN)}
        finally:
            os.killpg(own_server.process.pid, signal.SIGCONT)
        asking.timeout_s = 10
        assert metric("used_slots", first, task_type="workflow") is None
        assert metric("desired_replicas", first) == 3
        await until(lambda: one_look(autoscaler, fleet), lambda d: d.known == "Full")
        assert fleet.scaled == []
        problem = "ListWorkers: no answer within 0.5 s"
        assert caplog.messages == [f"Temporal: {problem}: no pool shrinks", "Temporal: works again"]

    asyncio.run(run())


async def one_look(autoscaler: Autoscaler, fleet: SimulatedFleet) -> Demand:
    await autoscaler.tick()
    demand, _ = fleet.reports[-1]
    assert demand is not None
    return demand


def test_a_queue_that_cannot_be_read_is_told_once(temporal_address: str, caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        good, bad = new_queue(), "q" * 2000
        fleet = fleet_of(*(replace(POLICY, task_queue=queue) for queue in (good, bad)), replicas=1)
        autoscaler = autoscaler_of(await connect(temporal_address), fleet)
        for _ in range(3):
            await autoscaler.tick()
        (message,) = caplog.messages
        assert message.startswith(f"demand of {bad}: DescribeTaskQueue: ")

    asyncio.run(run())


class TestWaking:
    @staticmethod
    async def woken(temporal_address: str, fleet: SimulatedFleet, queue: str) -> float:
        """Seconds from the start of a workflow on `queue` until the first replicas of the fleet; looks are rare."""
        client, stop = await connect(temporal_address), asyncio.Event()
        running = asyncio.create_task(autoscaler_of(client, fleet, poll_s=60).run(stop))
        while len(fleet.reports) < len(fleet.held):
            await asyncio.sleep(0.05)
        await asyncio.sleep(workflow_starts.EVERY_S + 0.2)
        begin = time.monotonic()
        await start(client, queue, "quick", 1)
        try:
            while not fleet.scaled:
                assert time.monotonic() - begin < 20, "not woken"
                await asyncio.sleep(0.02)
            return time.monotonic() - begin
        finally:
            stop.set()
            await running

    def test_a_workflow_wakes_its_queue_and_no_other_between_two_looks(self, temporal_address: str) -> None:
        first, second = new_queue(), new_queue()
        fleet = fleet_of(*(replace(SLEEPY, task_queue=queue) for queue in (first, second)))
        asyncio.run(self.woken(temporal_address, fleet, first))
        assert fleet.scaled == [(first, 1, [])]
        assert [d.reason for _, d in fleet.reports[2:]] == [Reason.WAKE_UP], "the others are not looked at for that"

    def test_queues_that_its_workflows_call_wake_with_it(self, temporal_address: str) -> None:
        first, second = new_queue(), new_queue()
        fleet = fleet_of(replace(SLEEPY, task_queue=second))
        fleet.held[second] = replace(fleet.held[second], wake_with=(first,))
        asyncio.run(self.woken(temporal_address, fleet, first))
        assert fleet.scaled == [(second, 1, [])]

    def test_nobody_asks_for_starts_while_no_pool_sleeps(self, temporal_address: str) -> None:
        async def run(front: Proxy) -> None:
            fleet, stop = fleet_of(replace(POLICY, task_queue=new_queue()), replicas=1), asyncio.Event()
            running = asyncio.create_task(autoscaler_of(await connect(front.address), fleet, poll_s=60).run(stop))
            await asyncio.sleep(2 * workflow_starts.EVERY_S)
            assert (front.calls["ListWorkers"], front.calls["ListWorkflowExecutions"]) == (1, 0)
            stop.set()
            await running

        with grpc_proxy(temporal_address) as front:
            asyncio.run(run(front))

    def test_without_visibility_the_backlog_wakes_it(
        self, temporal_address: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def run(front: Proxy) -> None:
            queue = new_queue()
            client, fleet = await connect(front.address), fleet_of(replace(SLEEPY, task_queue=queue))
            stop = asyncio.Event()
            running = asyncio.create_task(autoscaler_of(client, fleet, poll_s=1.5).run(stop))
            await asyncio.sleep(3)
            await start(client, queue, "quick", 1)
            while not fleet.scaled:
                await asyncio.sleep(0.05)
            stop.set()
            await running
            assert fleet.scaled == [(queue, 1, [])]

        with (
            grpc_proxy(temporal_address) as front,
            front.answering("ListWorkflowExecutions", grpc.StatusCode.PERMISSION_DENIED),
        ):
            asyncio.run(asyncio.wait_for(run(front), 30))
        (told,) = caplog.messages[:1]
        assert told.startswith("waking: ListWorkflowExecutions: ")


class TestNews:
    """While a pool sleeps, it is decided on again only when something new is known of it."""

    @pytest.fixture(autouse=True)
    def old_statistics(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Not asked for anew however slow the machine is, but where a test wants it."""
        monkeypatch.setattr(demand_module, "URGENT_S", 600)

    @asynccontextmanager
    async def asleep(self, address: str) -> AsyncIterator[tuple[SimulatedFleet, Autoscaler, str]]:
        """A fleet of one pool, which was looked at twice."""
        client, queue = await connect(address), new_queue()
        fleet = fleet_of(replace(SLEEPY, task_queue=queue))
        autoscaler = autoscaler_of(client, fleet)
        assert (await autoscaler.tick())[queue].reason is Reason.IDLE
        assert await autoscaler.tick() == {}, "nothing is new"
        assert len(fleet.reports) == 1
        yield fleet, autoscaler, queue

    def test_a_look_without_news_counts_and_its_statistics_age(self, temporal_address: str) -> None:
        async def run() -> None:
            async with self.asleep(temporal_address) as (_, autoscaler, queue):
                before = metric("last_success_timestamp_seconds", queue) or 0.0
                await asyncio.sleep(1)
                await autoscaler.tick()
                assert metric("scale_decisions_total", queue, direction="none", reason="Idle") == 3
                assert (metric("last_success_timestamp_seconds", queue) or 0.0) >= before + 1
                assert (metric("statistics_age_seconds", queue, task_type="workflow") or 0.0) >= 1

        asyncio.run(run())

    def test_new_statistics(self, temporal_address: str, monkeypatch: pytest.MonkeyPatch) -> None:
        async def run() -> None:
            async with self.asleep(temporal_address) as (_, autoscaler, queue):
                monkeypatch.setattr(demand_module, "URGENT_S", 1)
                while not (decisions := await autoscaler.tick()):
                    await asyncio.sleep(0.2)
                assert decisions[queue].reason is Reason.IDLE

        asyncio.run(asyncio.wait_for(run(), 20))

    def test_a_pool_that_is_another_one(self, temporal_address: str) -> None:
        async def run() -> None:
            async with self.asleep(temporal_address) as (fleet, autoscaler, queue):
                fleet.held[queue] = replace(fleet.held[queue])
                assert queue in await autoscaler.tick()

        asyncio.run(run())

    def test_a_worker_on_its_queue_comes_and_goes(self, temporal_address: str) -> None:
        async def run() -> None:
            async with self.asleep(temporal_address) as (fleet, autoscaler, queue):

                async def workers(expected: int) -> None:
                    while (seen := fleet.reports[-1][0]) is None or len(seen.workers) != expected:
                        await autoscaler.tick()
                        await asyncio.sleep(0.1)

                async with pod(temporal_address, queue):
                    await workers(1)
                    assert queue in await autoscaler.tick(), "each time"
                await workers(0)

        asyncio.run(asyncio.wait_for(run(), 40))

    def test_one_that_is_woken_has_the_age_of_its_statistics(self, temporal_address: str) -> None:
        async def run() -> None:
            async with self.asleep(temporal_address) as (fleet, autoscaler, queue):
                await asyncio.sleep(1)
                autoscaler._woken.add(queue)
                assert (await autoscaler.tick())[queue].reason is Reason.WAKE_UP
                (demand, _) = fleet.reports[-1]
                assert demand
                assert demand.woken
                assert min(t.stats_age_s or 0 for t in demand.types) >= 1

        asyncio.run(run())

    def test_one_of_two_on_a_queue_goes(self, temporal_address: str, monkeypatch: pytest.MonkeyPatch) -> None:
        async def run() -> None:
            async with self.asleep(temporal_address) as (fleet, autoscaler, queue):
                fleet.held["other"] = replace(fleet.held[queue], name="other")
                assert await autoscaler.tick() != {}
                del fleet.held["other"]
                assert await autoscaler.tick() == {}
                monkeypatch.setattr(demand_module, "URGENT_S", 1)
                while not await autoscaler.tick():
                    await asyncio.sleep(0.2)
                assert metric("desired_replicas", queue) == 0

        asyncio.run(asyncio.wait_for(run(), 20))

    def test_pods_that_have_not_told_anything_yet_are_no_sleep(self, temporal_address: str) -> None:
        async def run() -> None:
            client, queue = await connect(temporal_address), new_queue()
            fleet = fleet_of(replace(POLICY, task_queue=queue), replicas=POLICY.min_replicas)
            autoscaler = autoscaler_of(client, fleet)
            for _ in range(3):
                assert queue in await autoscaler.tick()

        asyncio.run(run())

    def test_what_could_not_be_reported_is_reported_at_the_next_look(
        self, temporal_address: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def refuse(*_: object) -> None:
            raise ConnectionError("not now")

        async def run() -> None:
            async with self.asleep(temporal_address) as (fleet, autoscaler, queue):
                fleet.held[queue] = replace(fleet.held[queue])
                with monkeypatch.context() as patch:
                    patch.setattr(fleet, "report", refuse)
                    await autoscaler.tick()
                assert queue in await autoscaler.tick()
                assert await autoscaler.tick() == {}
                assert len(fleet.reports) == 2

        asyncio.run(run())

    def test_a_failure(self, temporal_address: str) -> None:
        async def run(front: Proxy) -> None:
            async with self.asleep(front.address) as (_, autoscaler, queue):
                with front.answering("ListWorkers", grpc.StatusCode.PERMISSION_DENIED):
                    assert (await autoscaler.tick())[queue].reason is Reason.DEMAND_UNKNOWN
                assert (await autoscaler.tick())[queue].reason is Reason.IDLE
                assert await autoscaler.tick() == {}

        with grpc_proxy(temporal_address) as front:
            asyncio.run(run(front))


def test_an_idle_pool_falls_asleep(temporal_address: str) -> None:
    async def run() -> None:
        client, queue = await connect(temporal_address), new_queue()
        async with pod(temporal_address, queue, "pod-1"):
            await until(lambda: look(client, queue), lambda d: len(d.running) == 1)
            fleet = fleet_of(replace(SLEEPY, task_queue=queue, idle_s=0.5), replicas=1)
            autoscaler = autoscaler_of(client, fleet)
            assert (await autoscaler.tick())[queue].reason is Reason.LAST_REPLICA
            await asyncio.sleep(0.6)
            assert (await autoscaler.tick())[queue].reason is Reason.IDLE
            assert fleet.scaled == [(queue, 0, ["pod-1"])]

    asyncio.run(run())


def test_no_client_is_unknown_demand(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        fleet = fleet_of(POLICY, replicas=3)
        autoscaler = autoscaler_of(ConnectionError("nothing listens there"), fleet)
        for _ in range(3):
            await autoscaler.tick()
        assert [(demand, d.replicas, d.reason) for demand, d in fleet.reports] == [(None, 3, Reason.DEMAND_UNKNOWN)] * 3
        assert len(caplog.messages) == 1
        assert "nothing listens there" in caplog.text

    asyncio.run(run())


def test_a_pool_that_cannot_be_scaled_does_not_stop_the_others(
    temporal_address: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        client, bad, good = await connect(temporal_address), new_queue(), new_queue()
        policies = [replace(SLEEPY, task_queue=queue) for queue in (bad, good)]
        fleet = fleet_of(*policies, broken=bad)
        autoscaler = autoscaler_of(client, fleet)
        await backlog(client, bad, 1)
        await backlog(client, good, 1)
        for _ in range(3):
            await autoscaler.tick()
        assert fleet.scaled == [(good, 1, [])]
        assert len(fleet.reports) == 6, "what could not be done is reported like the rest"
        assert len(caplog.messages) == 1
        assert "the node is gone" in caplog.text
        fleet.broken = ""
        await autoscaler.tick()
        assert fleet.scaled[1:] == [(bad, 1, [])]

    asyncio.run(run())


def test_a_pool_that_hangs_does_not_stop_the_others(temporal_address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(autoscaler_module, "FLEET_TIMEOUT_S", 0.3)

    async def run() -> None:
        client, slow, good = await connect(temporal_address), new_queue(), new_queue()
        fleet = fleet_of(*(replace(SLEEPY, task_queue=queue) for queue in (slow, good)), slow=slow)
        await backlog(client, slow, 1)
        await backlog(client, good, 1)
        await asyncio.wait_for(autoscaler_of(client, fleet).tick(), 5)
        assert fleet.scaled == [(good, 1, [])]

    asyncio.run(run())


def test_a_fleet_that_cannot_list_its_pools_is_asked_again(temporal_address: str) -> None:
    async def run() -> None:
        fleet = fleet_of(POLICY, replicas=1)
        autoscaler = autoscaler_of(await connect(temporal_address), fleet)
        listed = fleet.pools
        fleet.pools = failing  # type: ignore[method-assign]
        assert await autoscaler.tick() == {}
        fleet.pools = listed  # type: ignore[method-assign]
        assert set(await autoscaler.tick()) == {"orders"}

    async def failing() -> Sequence[Pool]:
        raise ConnectionError("no API server")

    asyncio.run(run())


def test_a_fleet_that_stays_gone_ends_the_loop_and_a_blip_does_not() -> None:
    async def run() -> None:
        fleet, looks = fleet_of(POLICY, replicas=1), 0
        autoscaler = autoscaler_of(ConnectionError(), fleet, poll_s=0.01)
        listed = fleet.pools

        async def pools() -> Sequence[Pool]:
            nonlocal looks
            looks += 1
            if looks == 5:
                return await listed()
            raise FleetGone("no CRD")

        fleet.pools = pools  # type: ignore[method-assign]
        with pytest.raises(FleetGone, match="no CRD"):
            await asyncio.wait_for(autoscaler.run(asyncio.Event()), 10)
        assert looks == 5 + autoscaler_module.GONE_LOOKS

    asyncio.run(run())


def test_a_pool_that_is_gone_leaves_no_series(temporal_address: str) -> None:
    async def run() -> None:
        queue = new_queue()
        fleet = fleet_of(replace(POLICY, task_queue=queue), replicas=1)
        autoscaler = autoscaler_of(await connect(temporal_address), fleet)
        await autoscaler.tick()
        assert metric("desired_replicas", queue) == 1
        fleet.held.clear()
        await autoscaler.tick()
        assert metric("desired_replicas", queue) is None
        assert metric("last_success_timestamp_seconds", queue) is None
        assert metric("backlog_tasks", queue, task_type="activity") is None

    asyncio.run(run())


class TestRhythm:
    """One of a few tries has to keep it: a busy machine shifts some looks, a defect those of each try."""

    def test_slow_looks_do_not_shift_those_that_follow(self) -> None:
        tries = self.times_of(5, look_s=lambda n: 0.1)
        # With the length of the looks added, the fifth would begin after 1.4 s.
        assert any(0.79 < at[4] - at[0] < 1.1 for at in tries)

    def test_a_look_that_takes_too_long_drops_those_it_ran_into(self) -> None:
        tries = self.times_of(3, look_s=lambda n: 0.5 if n == 0 else 0)
        assert any(at[1] - at[0] > 0.59 and at[2] - at[1] > 0.1 for at in tries)

    def times_of(self, looks: int, look_s: Callable[[int], float]) -> Iterator[list[float]]:
        """When so many looks began, of a fleet that takes `look_s` seconds for each; of three tries."""

        async def run() -> list[float]:
            at, stop, fleet = list[float](), asyncio.Event(), fleet_of()

            async def pools() -> Sequence[Pool]:
                at.append(time.monotonic())
                if len(at) == looks:
                    stop.set()
                await asyncio.sleep(look_s(len(at) - 1))
                return []

            fleet.pools = pools  # type: ignore[method-assign]
            await asyncio.wait_for(autoscaler_of(ConnectionError(), fleet).run(stop), 20)
            return at

        for _ in range(3):
            yield asyncio.run(run())

    def test_stop_wakes_it_at_once(self) -> None:
        async def run() -> None:
            stop = asyncio.Event()
            autoscaler = autoscaler_of(ConnectionError(), fleet_of(), poll_s=60)
            asyncio.get_running_loop().call_later(0.1, stop.set)
            began = time.monotonic()
            await autoscaler.run(stop)
            assert time.monotonic() - began < 1

        asyncio.run(run())
