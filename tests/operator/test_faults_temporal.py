"""Temporal away, slow, denied or wrong: the operator holds what is there, says so once, and goes on when it is over.

Each pool here would shrink at once if the operator believed that nothing is to be done.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import grpc  # type: ignore[import-untyped]
import pytest

from app.core.ports import free_port
from tests.local.dev_fleet import ROOT
from tests.parts.grpc_proxy import Proxy
from tests.parts.relay import Relay, relay
from tests.parts.temporal import ready, start_server, stop_server
from tests.scaling.work import connect, sleep, start

from .conftest import EAGER, Laboratory
from .process import Operator, until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3600)]  # the first run builds Kubernetes

LOOKS_S = 12.0
"""A dozen looks: without the fault, one of the first three shrinks."""
STICKY_S = 10.0
"""So long a worker's cached workflows count as its own: what wakes them up is no backlog."""
TIMER_S, WAKES_S = 100.0, 15.0
"""Longer than a queue takes to fall asleep; and twice as long as the statistics take to tell, by docs/scaling.md."""
Fault = Callable[[Proxy, Relay], AbstractContextManager[object]]


@contextmanager
def late(proxy: Proxy, seconds: float) -> Iterator[None]:
    """Every answer that the operator asks for comes so much later."""
    for method in ("ListWorkers", "DescribeTaskQueue", "ListWorkflowExecutions", "GetSystemInfo"):
        proxy.delays_s[method] = seconds
    try:
        yield
    finally:
        proxy.delays_s.clear()


@contextmanager
def worker(address: str, queue: str) -> Iterator[subprocess.Popen[bytes]]:
    """A worker with heartbeats each second, killed at the end."""
    process = subprocess.Popen([sys.executable, "-m", "tests.scaling.work", address, queue], cwd=ROOT)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def stays(lab: Laboratory, replicas: int, seconds: float = LOOKS_S) -> None:
    """The Deployment has these all the time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert lab.replicas() == replicas, lab.status()
        time.sleep(0.5)


def troubles(running: Operator, what: str) -> list[str]:
    return [line for line in running.lines if f" {what}: " in line and "works again" not in line]


@pytest.mark.parametrize(
    ("fault", "known", "told"),
    [
        pytest.param(lambda _, link: link.refusing(), "None", "Temporal", id="unreachable"),
        pytest.param(lambda _, link: link.swallowing(), "None", "Temporal", id="silent"),
        pytest.param(lambda proxy, _: late(proxy, 30), "None", "Temporal", id="slow"),
        pytest.param(
            lambda proxy, _: proxy.answering("*", grpc.StatusCode.PERMISSION_DENIED, "not yours"),
            "None",
            "Temporal",
            id="denied",
        ),
        pytest.param(
            lambda proxy, _: proxy.answering("ListWorkers", grpc.StatusCode.UNIMPLEMENTED, "unknown method"),
            "Partial",
            "Temporal",
            id="without heartbeats",
        ),
        pytest.param(lambda proxy, _: proxy.silent("DescribeTaskQueue"), "Partial", "Temporal", id="without backlogs"),
    ],
)
def test_what_is_not_known_shrinks_nothing(lab: Laboratory, fault: Fault, known: str, told: str) -> None:
    lab.create(replicas=4, **EAGER)
    with ExitStack() as stack:
        stack.enter_context(worker(lab.temporal, lab.queue))
        link = stack.enter_context(relay(lab.proxy.address))
        running = stack.enter_context(lab.operator(temporal=link.address))
        with fault(lab.proxy, link):
            lab.until(reason="DemandUnknown")
            stays(lab, 4)
            assert lab.known() == known
            assert "stay" in lab.status()["message"]
            assert len(troubles(running, told)) == 1, running.lines
        until(lambda: lab.replicas() < 4, 90, "a step down when it is over")
        until(lambda: lab.known() == "Full", 30, "known demand")
        assert len(running.said("works again")) >= 1


def test_a_fault_in_mid_life_keeps_what_is_there_and_is_told_once(lab: Laboratory) -> None:
    lab.create(replicas=4, **{**EAGER, "idleSeconds": 600, "scaleDown": {"stabilizationWindowSeconds": 20}})
    with ExitStack() as stack:
        stack.enter_context(worker(lab.temporal, lab.queue))
        running = stack.enter_context(lab.operator())
        until(lambda: lab.known() == "Full", 60, "known demand")
        with lab.proxy.answering("*", grpc.StatusCode.UNAVAILABLE, "away"):
            lab.until(reason="DemandUnknown")
            # The window in which it was told to shrink nothing ends meanwhile.
            stays(lab, 4, 25)
            assert len(troubles(running, "Temporal")) == 1, running.lines
        until(lambda: lab.replicas() < 4, 90, "a step down when it is over")


def test_a_queue_that_nobody_has_polled_is_not_idle(lab: Laboratory) -> None:
    lab.create(replicas=3, **EAGER)
    with lab.operator():
        until(lambda: lab.status().get("backlog") == 0, 60, "statistics")
        stays(lab, 3)
        assert (lab.status()["reason"], lab.known()) == ("DemandUnknown", "Full")
        with worker(lab.temporal, lab.queue):
            until(lambda: lab.replicas() < 3, 60, "a step down once a worker tells that it is idle")


def test_work_in_hand_without_a_backlog_keeps_its_replica(lab: Laboratory) -> None:
    lab.create(replicas=1, **EAGER)
    with worker(lab.temporal, lab.queue) as pod, lab.operator():
        asyncio.run(_start(lab, "hold"))
        until(lambda: lab.status().get("slots") == "1/5", 60, "a slot in use")
        stays(lab, 1, 45)  # past the 30 s that the rates of its start are counted in
        assert lab.status()["backlog"] == 0
        killed_at = time.monotonic()
        pod.kill()
        pod.wait()
        # What no worker tells of is not known: the replica stays, for the pod that comes after this one.
        stays(lab, 1)
        assert time.monotonic() - killed_at > STICKY_S


# The worst case: the worker that has the workflow cached dies just before, and the server keeps the task for it first.
def test_a_timer_wakes_a_queue_that_sleeps(lab: Laboratory) -> None:
    lab.create(replicas=1, **{**EAGER, "idleSeconds": 20})
    with lab.operator() as running:
        with worker(lab.temporal, lab.queue):
            until(lambda: lab.status().get("slots") == "0/5", 60, "a worker")
            began = time.monotonic()
            asyncio.run(_sleep(lab, TIMER_S))
            lab.until_replicas(0, TIMER_S - STICKY_S)
            assert time.monotonic() - began > 20, "calm began anew with that workflow"
            stays(lab, 0, began + TIMER_S - STICKY_S / 3 - time.monotonic())
        lab.until_replicas(1, 2 * STICKY_S + WAKES_S)
        assert running.said("orders: 0 -> 1 replicas, WakeUp")


async def _sleep(lab: Laboratory, seconds: float) -> None:
    await sleep(await connect(lab.temporal), lab.queue, seconds)


async def _start(lab: Laboratory, name: str) -> None:
    await start(await connect(lab.temporal), lab.queue, name, 1)


# The server adds the tasks that wait a second time, and its rates tell of them as of any that came: 20 wait, 40 are
# counted for as long as nobody works, and add_rate x 30 s is far above 20 (measured, server 1.32). What tells them is
# that Temporal failed to answer just before.
def test_a_count_that_a_restart_of_temporal_doubles_adds_nothing(lab: Laboratory, tmp_path: Path) -> None:
    port = free_port("127.0.0.1")
    address = f"127.0.0.1:{port}"
    process = start_server(tmp_path, port)
    try:
        asyncio.run(ready(address, process, tmp_path / "log"))
        lab.create(replicas=0, minReplicas=0, maxReplicas=20, backlogPerReplica=5, slotsPerReplica=1)
        lab.start_workflows(20, address)
        with lab.operator(temporal=address):
            lab.until_replicas(4)
            until(lambda: lab.status().get("backlog") == 20, 60, "20 that wait")
            stop_server(process)
            process = start_server(tmp_path, port)
            asyncio.run(ready(address, process, tmp_path / "log"))
            until(lambda: (lab.status().get("backlog") or 0) > 20, 60, "a count that is too high")
            stays(lab, 4, 45)
            assert lab.status()["reason"] == "CountInDoubt"
    finally:
        stop_server(process)
