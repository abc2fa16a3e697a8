"""Demand as it is read from a real Temporal."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Collection, Container
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest
from temporalio.api.workflowservice.v1 import ListWorkersResponse
from temporalio.client import Client
from temporalio.worker import Worker

from app.core.ports import free_port
from app.core.services.temporal import heartbeats
from app.core.services.temporal.asking import Asking
from app.core.services.temporal.queue_statistics import Statistics, Want
from app.core.services.temporal.workflow_starts import Starts
from app.scaling.demand import Demand, Observer
from app.scaling.fleet import Pool
from tests.parts.grpc_proxy import Proxy, grpc_proxy
from tests.parts.temporal import freeze

from .conftest import OwnServer
from .looks import pool_of
from .work import HEARTBEAT_S, Many, connect, look, new_queue, observer, of, pod, quick, start, until


def test_the_backlog_of_a_queue_that_nobody_polls_is_read(temporal_address: str) -> None:
    async def run() -> None:
        client, queue = await connect(temporal_address), new_queue()
        for _ in range(3):
            await start(client, queue, "quick", 1)
        seen = await until(lambda: look(client, queue), lambda d: of(d, "workflow").backlog == 3)
        waiting = of(seen, "workflow")
        assert (seen.known, seen.workers, seen.problem) == ("Full", (), "")
        assert (waiting.used_slots, waiting.total_slots, waiting.processed_per_s) == (0, 0, None)
        assert 0 < (waiting.backlog_age_s or 0) < 20
        assert of(seen, "activity").backlog == 0
        assert not seen.calm

    asyncio.run(run())


def test_the_slots_of_a_busy_worker_without_backlog_are_read(temporal_address: str) -> None:
    async def run() -> None:
        client, queue = await connect(temporal_address), new_queue()
        async with pod(temporal_address, queue, "pod-7", slots=5):
            await start(client, queue, "hold", 5)
            seen = await until(lambda: look(client, queue), lambda d: of(d, "activity").used_slots == 5)
            assert (of(seen, "activity").backlog, of(seen, "activity").total_slots) == (0, 5)
            assert of(seen, "workflow").total_slots == 4
            (load,) = seen.running
            assert (load.identity, load.used_slots, load.total_slots) == ("pod-7", 5, 9)
            assert load.heartbeat_age_s < 3 * HEARTBEAT_S
            assert not seen.calm

    asyncio.run(run())


def test_the_tasks_that_end_are_counted(temporal_address: str) -> None:
    async def run() -> None:
        client, queue = await connect(temporal_address), new_queue()
        async with pod(temporal_address, queue, slots=5):
            await start(client, queue, "quick", 200)
            # 5 slots of 0.05 s end 100 tasks a second at most; the server's rates would leave out the eager ones.
            seen = await until(lambda: look(client, queue), lambda d: (of(d, "activity").processed_per_s or 0) > 5)
            assert (of(seen, "activity").processed_per_s or 0) < 130
            await until(lambda: look(client, queue), lambda d: of(d, "activity").processed_per_s == 0)

    asyncio.run(run())


def test_what_ended_between_two_looks_counts_whenever_that_was(temporal_address: str) -> None:
    async def run() -> None:
        # The longer interval only makes it remember its last look for longer, on a machine that is busy otherwise.
        client, queue, by = await connect(temporal_address), new_queue(), Observer(Asking(1000, 5), 10 * HEARTBEAT_S)
        async with pod(temporal_address, queue, slots=5):
            await until(lambda: look(client, queue, by=by), lambda d: of(d, "activity").processed_per_s == 0)
            await start(client, queue, "quick", 20)
            # Ended in the first of the intervals between the two looks; another observer sees only the last.
            await until(lambda: look(client, queue), lambda d: (of(d, "activity").processed_per_s or 0) > 0)
            await until(lambda: look(client, queue), lambda d: of(d, "activity").processed_per_s == 0)
            seen = await look(client, queue, by=by)
            assert 0 < (of(seen, "activity").processed_per_s or 0) < 20
            await until(lambda: look(client, queue, by=by), lambda d: of(d, "activity").processed_per_s == 0)

    asyncio.run(run())


def test_a_worker_whose_clock_is_set_counts_by_its_last_interval(temporal_address: str) -> None:
    def an_hour_later(answer: bytes) -> bytes:
        workers = ListWorkersResponse.FromString(answer)
        for info in workers.workers_info:
            info.worker_heartbeat.heartbeat_time.seconds += 3600
        return workers.SerializeToString()

    async def run(front: Proxy) -> None:
        client, queue, by = await connect(front.address), new_queue(), observer()

        async def ended_per_s() -> float:
            return of(await look(client, queue, by=by), "activity").processed_per_s or 0

        async with pod(temporal_address, queue, slots=5):
            await start(client, queue, "quick", 1000)
            await until(ended_per_s, lambda rate: rate > 20)
            front.rewrites["ListWorkers"] = an_hour_later
            assert await ended_per_s() > 20
            front.rewrites.clear()
            assert await ended_per_s() > 20

    with grpc_proxy(temporal_address) as front:
        asyncio.run(run(front))


def test_an_idle_queue_is_calm(temporal_address: str) -> None:
    async def run() -> None:
        client, queue = await connect(temporal_address), new_queue()
        async with pod(temporal_address, queue):
            assert (await until(lambda: look(client, queue), lambda d: len(d.running) == 1)).calm

    asyncio.run(run())


def test_a_worker_that_drains_is_no_capacity_but_its_work_is_seen(temporal_address: str) -> None:
    async def run() -> None:
        client, queue = await connect(temporal_address), new_queue()
        async with pod(temporal_address, queue) as leaving:
            await start(client, queue, "hold", 2)
            await until(lambda: look(client, queue), lambda d: of(d, "activity").used_slots == 2)
            stopping = asyncio.create_task(leaving.worker.shutdown())
            seen = await until(lambda: look(client, queue), lambda d: not d.running)
            assert [(w.used_slots, w.draining) for w in seen.workers] == [(2, True)]
            assert (of(seen, "activity").used_slots, of(seen, "activity").total_slots) == (0, 0)
            assert not seen.calm
            leaving.let_go.set()
            await stopping

    asyncio.run(run())


def test_a_killed_worker_is_forgotten_within_seconds(temporal_address: str) -> None:
    # Temporal lists it as RUNNING for five minutes, its slots in use.
    queue = new_queue()
    doomed = subprocess.Popen([sys.executable, "-m", "tests.scaling.work", temporal_address, queue])

    async def run() -> None:
        client, by = await connect(temporal_address), observer()
        try:
            await start(client, queue, "hold", 3)
            await until(lambda: look(client, queue, by=by), lambda d: of(d, "activity").used_slots == 3)
        finally:
            doomed.kill()
            doomed.wait()
        killed, ages = time.monotonic(), list[float]()

        def gone(demand: Demand) -> bool:
            ages.extend(worker.heartbeat_age_s for worker in demand.workers)
            return not demand.workers

        seen = await until(lambda: look(client, queue, by=by), gone)
        assert of(seen, "activity").used_slots == 0
        assert time.monotonic() - killed > 3
        assert max(ages) <= 6, "as docs/scaling.md has it"

    asyncio.run(run())


@pytest.mark.parametrize("jump_s", [3600, -3600])
def test_a_clock_that_jumps_makes_no_worker_look_gone(
    temporal_address: str, monkeypatch: pytest.MonkeyPatch, jump_s: int
) -> None:
    async def run() -> None:
        client, queue, by = await connect(temporal_address), new_queue(), observer()
        async with pod(temporal_address, queue):
            await until(lambda: look(client, queue, by=by), lambda d: len(d.running) == 1)
            now = time.time
            monkeypatch.setattr(time, "time", lambda: now() + jump_s)
            (load,) = (await look(client, queue, by=by)).running
            assert load.heartbeat_age_s < 3 * HEARTBEAT_S

    asyncio.run(run())


def test_the_workers_of_one_process_are_one_worker(temporal_address: str) -> None:
    async def run() -> None:
        queue = new_queue()
        client = await connect(temporal_address, "pod-1")
        workflows = Worker(client, task_queue=queue, workflows=[Many], max_concurrent_workflow_tasks=4)
        activities = Worker(client, task_queue=queue, activities=[quick], max_concurrent_activities=5)
        async with workflows, activities:
            seen = await until(lambda: look(client, queue), lambda d: [t.total_slots for t in d.types] == [4, 5])
            assert [(w.identity, w.total_slots) for w in seen.workers] == [("pod-1", 9)]

    asyncio.run(run())


def test_workers_are_read_page_by_page(temporal_address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeats, "PAGE_SIZE", 1)

    async def run() -> None:
        client, queue = await connect(temporal_address), new_queue()
        async with pod(temporal_address, queue, "pod-1"), pod(temporal_address, queue, "pod-2"):
            seen = await until(lambda: look(client, queue), lambda d: len(d.workers) == 2)
            assert {w.identity for w in seen.workers} == {"pod-1", "pod-2"}

    asyncio.run(run())


def test_workers_without_their_slots_are_not_no_workers(temporal_address: str) -> None:
    def without(answer: bytes) -> bytes:
        told = ListWorkersResponse.FromString(answer)
        assert told.workers, "the newer field, which has no slots"
        told.ClearField("workers_info")
        return told.SerializeToString()

    async def run(front: Proxy) -> None:
        client, queue = await connect(front.address), new_queue()
        async with pod(temporal_address, queue):
            await until(lambda: look(client, queue), lambda d: len(d.running) == 1)
            front.rewrites["ListWorkers"] = without
            seen = await look(client, queue)
            assert (of(seen, "activity").used_slots, seen.known) == (None, "Partial")
            assert seen.problem == "ListWorkers: the server lists workers without their slots"

    with grpc_proxy(temporal_address) as front:
        asyncio.run(run(front))


def test_a_rate_limit_is_seen(temporal_address: str) -> None:
    async def run() -> None:
        client, queue = await connect(temporal_address), new_queue()
        async with pod(temporal_address, queue, max_task_queue_activities_per_second=1):
            await start(client, queue, "quick", 60)
            await until(lambda: look(client, queue), lambda d: of(d, "activity").rate_limited)

    asyncio.run(run())


def test_a_queue_that_cannot_be_read_does_not_hide_the_others(temporal_address: str) -> None:
    async def run() -> None:
        good, bad = new_queue(), "q" * 2000
        queues = [pool_of(good, "workflow"), pool_of(bad, "workflow")]
        client = await connect(temporal_address)
        seen = await observer().look(client, queues)
        assert (seen[good].known, seen[bad].known) == ("Full", "Partial")
        assert of(seen[bad], "workflow").backlog is None
        assert seen[bad].problem.startswith("DescribeTaskQueue: ")

    asyncio.run(run())


class TestStarts:
    @pytest.mark.parametrize("odd", ["", "o'clock", "%_", "a,b) OR ('"])
    def test_a_start_is_told_once_and_by_queue(self, temporal_address: str, odd: str) -> None:
        async def run() -> None:
            client, starts = await connect(temporal_address), observer().starts
            first, second, third = (odd + new_queue() for _ in range(3))
            await start(client, first, "quick", 1)
            assert await starts.read(client, [first, second]) == set(), "what was started before is no news"
            for queue in (first, second, third):
                await start(client, queue, "quick", 1)
            assert await told(starts, client, [first, second], {first, second}) == {first, second}
            assert await told(starts, client, [first, second, third]) == set(), "nor is what is told"

        asyncio.run(run())

    def test_what_was_started_while_nobody_asked_is_no_news(self, temporal_address: str) -> None:
        async def run() -> None:
            client, queue, clock = await connect(temporal_address), new_queue(), Clock()
            starts = Observer(Asking(timeout_s=5, clock=clock), HEARTBEAT_S).starts
            await starts.read(client, [queue])
            await start(client, queue, "quick", 1)
            await until(lambda: client.count_workflows(f"TaskQueue = '{queue}'"), lambda found: found.count == 1)
            clock.now += 60
            assert await told(starts, client, [queue]) == set()

        asyncio.run(run())

    def test_one_that_is_to_begin_later_is_none_yet(self, temporal_address: str) -> None:
        async def run() -> None:
            client, queue, starts = await connect(temporal_address), new_queue(), observer().starts
            await starts.read(client, [queue])
            minute = timedelta(minutes=1)
            await client.start_workflow(
                Many.run, args=["quick", 1], id=f"later-{queue}", task_queue=queue, start_delay=minute
            )
            assert await told(starts, client, [queue]) == set()

        asyncio.run(run())

    @pytest.mark.parametrize("odd", ["back\\slash", 'say "so"'])
    def test_a_name_that_cannot_be_asked_for_does_not_hide_the_others(self, temporal_address: str, odd: str) -> None:
        async def run() -> None:
            client, starts, queue = await connect(temporal_address), observer().starts, new_queue()
            await starts.read(client, [odd, queue])
            await start(client, queue, "quick", 1)
            assert await told(starts, client, [odd, queue], {queue}) == {queue}
            assert await starts.read(client, [odd]) == set()

        asyncio.run(run())

    def test_a_server_that_is_not_there_is_told_and_asked_less_often(self) -> None:
        async def run() -> None:
            client = await Client.connect(f"127.0.0.1:{free_port('127.0.0.1')}", lazy=True)
            starts = observer(timeout_s=2).starts
            for every_s in (2, 4, 8, 8):
                assert str(await starts.read(client, ["orders"])).startswith("ListWorkflowExecutions: ")
                assert starts.every_s == every_s

        asyncio.run(run())


async def told(starts: Starts, client: Client, queues: list[str], expected: Collection[str] = ()) -> set[str]:
    """What is told until all that is `expected` is, in 15 s at most; without any, within a second."""
    all_told, end = set[str](), time.monotonic() + (15 if expected else 1)
    while time.monotonic() < end and not (expected and all_told.issuperset(expected)):
        started = await starts.read(client, queues)
        assert isinstance(started, set)
        assert not all_told & started, "told twice"
        all_told |= started
        await asyncio.sleep(0.2)
    return all_told


def sleepy(name: str, replicas: int, least: int = 0) -> Pool:
    """Of activities, with `least` replicas."""
    pool = pool_of(name, "activity", replicas=replicas)
    return replace(pool, policy=replace(pool.policy, min_replicas=least))


class TestQuestions:
    """How often a queue's statistics are asked for, as its fast signal tells."""

    @staticmethod
    async def asked(front: Proxy, by: Observer, clock: Clock, client: Client, pool: Pool, asks: Container[str]) -> int:
        """Calls of DescribeTaskQueue in three minutes, with a look each 3 s."""
        before = front.calls["DescribeTaskQueue"]
        for _ in range(60):
            clock.now += 3
            await by.look(client, [pool], asks)
        return front.calls["DescribeTaskQueue"] - before

    @pytest.mark.parametrize(
        ("replicas", "asks", "held", "least", "most"),
        [
            pytest.param(0, False, None, 27, 36, id="asleep"),
            pytest.param(1, False, None, 27, 36, id="its pod has not come yet"),
            pytest.param(1, False, 0, 2, 3, id="nothing in hand"),
            pytest.param(1, False, 4, 2, 4, id="a slot is free"),
            pytest.param(1, False, 5, 27, 36, id="no slot is free"),
            pytest.param(1, True, 0, 27, 36, id="about to shrink"),
        ],
    )
    def test_of_each_type_in_three_minutes(
        self, temporal_address: str, replicas: int, asks: bool, held: int | None, least: int, most: int
    ) -> None:
        async def run(front: Proxy) -> int:
            client, name, clock = await connect(front.address), new_queue(), Clock()
            by = Observer(Asking(timeout_s=5, clock=clock), 1000.0)
            mine, asking = sleepy(name, replicas), {name} if asks else set[str]()
            if held is None:
                return await self.asked(front, by, clock, client, mine, asking)
            async with pod(temporal_address, name, slots=5):
                if held:
                    await start(client, name, "hold", held)
                await until(
                    lambda: look(client, name), lambda d: bool(d.running) and of(d, "activity").used_slots == held
                )
                await by.look(client, [mine])
                return await self.asked(front, by, clock, client, mine, asking)

        with grpc_proxy(temporal_address) as front:
            assert least <= asyncio.run(run(front)) <= most

    def test_work_that_grows_is_asked_about(self, temporal_address: str) -> None:
        async def run(front: Proxy) -> None:
            client, name, clock = await connect(front.address), new_queue(), Clock()
            by = Observer(Asking(timeout_s=5, clock=clock), 1000.0)

            async def asked(after_s: float) -> int:
                before, clock.now = front.calls["DescribeTaskQueue"], clock.now + after_s
                await by.look(client, [pool_of(name, "activity", replicas=1)])
                return front.calls["DescribeTaskQueue"] - before

            async def hold(more: int, held: int) -> None:
                await start(client, name, "hold", more)
                await until(lambda: look(client, name), lambda d: of(d, "activity").used_slots == held)

            async with pod(temporal_address, name, slots=20):
                await until(lambda: look(client, name), lambda d: bool(d.running))
                assert await asked(0) == 1
                await hold(4, 4)
                # The server's own are 5 s old; and what comes after the first work is seen as well.
                assert [await asked(3) for _ in range(7)] == [0, 1, 0, 1, 0, 0, 0]
                await hold(4, 8)
                assert [await asked(3) for _ in range(4)] == [1, 0, 0, 0]
                assert await asked(70) == 1
                await hold(2, 10)
                assert await asked(6) == 0, "a quarter more is noise"

        with grpc_proxy(temporal_address) as front:
            asyncio.run(run(front))

    @pytest.mark.parametrize(
        ("least", "questions"), [pytest.param(0, 1, id="may sleep"), pytest.param(1, 0, id="stays awake")]
    )
    def test_a_queue_that_only_a_rate_keeps_awake_is_asked_about_as_soon_as_the_rate_may_have_ended(
        self, temporal_address: str, least: int, questions: int
    ) -> None:
        async def run(front: Proxy) -> int:
            client, name, clock = await connect(front.address), new_queue(), Clock()
            by = Observer(Asking(timeout_s=5, clock=clock), 1000.0)
            pool = sleepy(name, 1, least)
            async with pod(temporal_address, name):
                await start(client, name, "quick", 3)
                await until(lambda: look(client, name), lambda d: bool(of(d, "activity").add_rate))
                # Two heartbeats on, none of them tells of the work any more.
                await asyncio.sleep(3 * HEARTBEAT_S)
                await by.look(client, [pool])
                before, clock.now = front.calls["DescribeTaskQueue"], clock.now + 35
                await by.look(client, [pool])
                return front.calls["DescribeTaskQueue"] - before

        with grpc_proxy(temporal_address) as front:
            assert asyncio.run(run(front)) == questions

    def test_one_low_sample_between_two_high_ones_is_no_news(self, temporal_address: str) -> None:
        async def run() -> None:
            client, name, clock = await connect(temporal_address), new_queue(), Clock()
            statistics = Statistics(Asking(timeout_s=5, clock=clock))

            async def asked(after_s: float, work: float | None) -> bool:
                clock.now += after_s
                return bool(await statistics.refresh(client, [Want(1, name, "activity", 30, work)]))

            assert [await asked(6, 20), await asked(6, 20)] == [1, 0], "of the first all is known"
            assert [await asked(35, 1) for _ in range(7)] == [1] * 7
            assert [await asked(6, 20) for _ in range(7)] == [1, 1, 1, 1, 0, 0, 0], "of a jump it comes to be known"
            assert await asked(35, 20)
            assert [await asked(35, 1), await asked(6, 20), await asked(6, 22)] == [1, 0, 1]
            assert [await asked(35, None), await asked(6, 20), await asked(6, 40)] == [1, 0, 1], "unknown is not 0"

        asyncio.run(run())

    def test_more_urgent_queues_than_the_budget_serves_leave_a_turn_to_the_others(self, temporal_address: str) -> None:
        async def run() -> None:
            client, clock = await connect(temporal_address), Clock()
            statistics = Statistics(Asking(per_s=2, timeout_s=5, clock=clock))
            wanted = [Want(rank, new_queue(), "activity", 5) for rank in (0,) * 16 + (1,) * 4]
            asked = Counter[str]()
            for _ in range(8):
                clock.now += 3
                asked.update(await statistics.refresh(client, wanted))
            counts = [asked[want.task_queue] for want in wanted]
            assert min(counts) >= 1, counts
            assert sum(counts[:16]) > 2 * sum(counts[16:]), counts

        asyncio.run(run())

    def test_a_fleet_too_large_for_the_budget_is_seen_in_turn_and_the_neediest_first(
        self, temporal_address: str
    ) -> None:
        async def run() -> None:
            client, clock = await connect(temporal_address), Clock()
            by = Observer(Asking(per_s=2, timeout_s=5, clock=clock), HEARTBEAT_S)
            names = [new_queue() for _ in range(20)]
            # 2 a second over 3 s, less one for ListWorkers: 5 of 20.
            pools = [pool_of(name, "workflow") for name in names]
            seen = await by.look(client, pools, {names[-1]})
            known = {name for name, demand in seen.items() if demand.known == "Full"}
            assert len(known) == 5
            assert names[-1] in known
            assert {d.problem for d in seen.values()} == {""}
            for _ in range(8):
                clock.now += 3
                seen = await by.look(client, pools, {names[-1]})
            assert {d.known for d in seen.values()} == {"Full"}
            ages = {name: d.types[0].stats_age_s or 0 for name, d in seen.items()}
            assert ages.pop(names[-1]) <= 6, "it has its turn each time"
            assert max(ages.values()) > 6

        asyncio.run(run())

    def test_statistics_are_as_old_as_they_are_when_others_are_waited_for(self, temporal_address: str) -> None:
        async def run(front: Proxy) -> None:
            client, by = await connect(front.address), observer(timeout_s=5)
            awake = pool_of(new_queue(), "workflow", replicas=1)
            await by.look(client, [awake])
            front.delays_s["DescribeTaskQueue"] = 1.5
            seen = await by.look(client, [awake, pool_of(new_queue(), "workflow")])
            assert (of(seen[awake.name], "workflow").stats_age_s or 0) > 1.4

        with grpc_proxy(temporal_address) as front:
            asyncio.run(run(front))

    def test_a_question_whose_turn_did_not_come_is_no_failure(self, temporal_address: str) -> None:
        async def run(front: Proxy) -> None:
            client = await connect(front.address)
            # 3.5 s each, eight at a time, within 5 s: of 24 a third has no turn; a slow machine has 1.5 s.
            front.delays_s["DescribeTaskQueue"] = 3.5
            pools = [pool_of(new_queue(), "workflow") for _ in range(24)]
            seen = (await observer(timeout_s=5).look(client, pools)).values()
            assert {d.problem for d in seen} == {""}
            assert sorted({d.known for d in seen}) == ["Full", "Partial"]

        with grpc_proxy(temporal_address) as front:
            asyncio.run(run(front))

    def test_an_idle_queue_has_its_turn_among_more_sleepers_than_the_budget_serves(self, temporal_address: str) -> None:
        async def run() -> None:
            client, clock, name = await connect(temporal_address), Clock(), new_queue()
            by = Observer(Asking(per_s=2, timeout_s=5, clock=clock), 1000.0)
            pools = [*(pool_of(new_queue(), "workflow") for _ in range(20)), pool_of(name, "workflow", replicas=1)]
            async with pod(temporal_address, name):
                await until(lambda: look(client, name), lambda d: bool(d.running))
                known = set[str]()
                for _ in range(8):
                    clock.now += 3
                    known.add((await by.look(client, pools))[name].known)
                assert "Full" in known

        asyncio.run(run())


@dataclass
class Clock:
    """Time that a test moves."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_server_that_hangs_is_unknown_demand_in_time(own_server: OwnServer) -> None:
    async def run() -> None:
        client = await connect(own_server.address)
        queues = [pool_of(f"q{i}") for i in range(30)]
        await observer().look(client, queues)
        freeze(own_server.process)
        try:
            began = time.monotonic()
            seen = await observer(timeout_s=1).look(client, queues)
            # One after the other, or eight at a time, 61 calls would take a minute, or eight seconds.
            assert time.monotonic() - began < 4
            assert {d.known for d in seen.values()} == {"None"}
            assert {t.backlog for d in seen.values() for t in d.types} == {None}
            assert {t.used_slots for d in seen.values() for t in d.types} == {None}
            assert seen["q0"].problem == ("ListWorkers: no answer within 1 s; DescribeTaskQueue: no answer within 1 s")
        finally:
            os.killpg(own_server.process.pid, signal.SIGCONT)
        await until(lambda: look(client, "q0"), lambda d: d.known == "Full")

    asyncio.run(run())


def test_a_server_that_is_not_there_is_unknown_demand(temporal_address: str) -> None:
    async def run() -> None:
        client = await Client.connect(f"127.0.0.1:{free_port('127.0.0.1')}", lazy=True)
        seen = await look(client, "orders", timeout_s=2)
        assert seen.known == "None"
        assert "refused" in seen.problem

    asyncio.run(run())
