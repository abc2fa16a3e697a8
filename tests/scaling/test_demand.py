"""Demand as it is read from a real Temporal."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time

import pytest
from temporalio.client import Client
from temporalio.worker import Worker

from app.core.ports import free_port
from app.scaling import demand as demand_module
from app.scaling.demand import QueueTypes, observe
from tests.parts.temporal import freeze

from .conftest import OwnServer
from .work import HEARTBEAT_S, Many, connect, look, new_queue, of, pod, quick, start, until


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
        client = await connect(temporal_address)
        try:
            await start(client, queue, "hold", 3)
            await until(lambda: look(client, queue), lambda d: of(d, "activity").used_slots == 3)
        finally:
            doomed.kill()
            doomed.wait()
        killed = time.monotonic()
        seen = await until(lambda: look(client, queue), lambda d: not d.workers)
        assert of(seen, "activity").used_slots == 0
        assert 3 < time.monotonic() - killed < 9

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
    monkeypatch.setattr(demand_module, "PAGE_SIZE", 1)

    async def run() -> None:
        client, queue = await connect(temporal_address), new_queue()
        async with pod(temporal_address, queue, "pod-1"), pod(temporal_address, queue, "pod-2"):
            seen = await until(lambda: look(client, queue), lambda d: len(d.workers) == 2)
            assert {w.identity for w in seen.workers} == {"pod-1", "pod-2"}

    asyncio.run(run())


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
        queues = [QueueTypes(good, ("workflow",)), QueueTypes(bad, ("workflow",))]
        client = await connect(temporal_address)
        seen = await observe(client, queues, timeout_s=5, heartbeat_interval_s=HEARTBEAT_S)
        assert (seen[good].known, seen[bad].known) == ("Full", "Partial")
        assert of(seen[bad], "workflow").backlog is None
        assert seen[bad].problem.startswith("DescribeTaskQueue: ")

    asyncio.run(run())


def test_statistics_that_are_not_needed_are_not_asked_for(temporal_address: str) -> None:
    async def run() -> None:
        queue = new_queue()
        client = await connect(temporal_address)
        seen = await observe(
            client,
            [QueueTypes(queue, ("workflow",))],
            timeout_s=5,
            heartbeat_interval_s=HEARTBEAT_S,
            need_stats=lambda asked: asked != queue,
        )
        assert (seen[queue].known, seen[queue].problem) == ("Partial", "")

    asyncio.run(run())


def test_a_server_that_hangs_is_unknown_demand_in_time(own_server: OwnServer) -> None:
    async def run() -> None:
        client = await connect(own_server.address)
        queues = [QueueTypes(f"q{i}", ("workflow", "activity")) for i in range(30)]
        await observe(client, queues, timeout_s=5, heartbeat_interval_s=HEARTBEAT_S)
        freeze(own_server.process)
        try:
            began = time.monotonic()
            seen = await observe(client, queues, timeout_s=1, heartbeat_interval_s=HEARTBEAT_S)
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
