"""A worker that ends although nobody asked it to: started again, so often and no more. Real workers, real server."""

from __future__ import annotations

import asyncio
import logging
import time
import urllib.request
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from grpc import StatusCode  # type: ignore[import-untyped]

from app.core.config import get_settings
from app.core.exit import ExitCode
from app.core.services.temporal.temporal_client import TemporalUnavailable
from app.worker import supervise
from app.worker.build import build
from app.worker.health import WorkerState, probe_server
from app.worker.in_flight import InFlight
from app.worker.polls import Polls
from app.worker.registry import registry
from app.worker.supervise import RAN_WELL_S, RESTART_BACKOFF_S, SHUTDOWN_S, Restarts, why
from tests.apps.lab import workflows as lab
from tests.parts.grpc_proxy import grpc_proxy
from tests.parts.temporal import own_server, stop_server
from tests.worker.pools import NO_WAIT_S, Running, lab_settings, running_manager


def run(address: str, body: Callable[[Running], Awaitable[None]], *queues: str, **worker: Any) -> ExitCode:
    """How the manager ended, during or after `body`."""
    settings = lab_settings(
        address, worker={"packages": ["tests.apps.lab"], "drain_timeout_s": 5, "polls_timeout_s": NO_WAIT_S, **worker}
    )

    async def main() -> ExitCode:
        async with asyncio.timeout(60), running_manager(settings, *queues) as running:
            await body(running)
        return running.ending.result()

    return asyncio.run(main())


async def end_worker(running: Running, queue: str) -> None:
    """What a fault in the SDK looks like from here: the worker shuts down, and its pool did not ask for it."""
    await next(pool for pool in running.manager.pools if pool.queue == queue).worker.shutdown()


async def nothing(_: BaseException) -> None: ...


async def holds(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.02)


def test_each_restart_waits_longer_and_there_are_no_more_than_allowed() -> None:
    restarts = Restarts(allowed=3)
    pauses = [restarts.pause_s(ran_s=1) for _ in range(4)]
    assert pauses[3] is None
    for pause, step in zip(pauses, RESTART_BACKOFF_S, strict=False):
        assert pause is None or 0.8 * step <= pause <= 1.2 * step


def test_a_worker_that_ran_well_earns_its_restarts_back() -> None:
    restarts = Restarts(allowed=1)
    assert restarts.pause_s(ran_s=1) is not None
    assert restarts.pause_s(ran_s=RAN_WELL_S - 1) is None
    pause = restarts.pause_s(ran_s=RAN_WELL_S)
    assert pause is not None
    assert pause <= 1.2 * RESTART_BACKOFF_S[0], "from the first step again"


@pytest.mark.parametrize("code", ["NotFound", "PermissionDenied", "Unauthenticated"])
def test_a_refusal_that_a_restart_cannot_help_is_told_from_the_others(code: str) -> None:
    status = f'Status {{ code: {code}, message: "Namespace doomed is \\"gone\\".", details: b"x" }}'
    poll = RuntimeError(f"Poll failure: Unhandled grpc error when polling: {status}")
    worker = RuntimeError("Activity worker failed")
    worker.__cause__ = poll
    assert why(worker) == (f'Temporal answers {code}: Namespace doomed is \\"gone\\"', True)
    assert why(RuntimeError(status.replace(code, "InvalidArgument")))[1] is False
    assert why(TemporalUnavailable("a:1", "no", permanent=True))[1] is True
    assert why(None) == ("no error given", False)


def test_a_worker_that_ends_is_started_again_and_works(temporal_address: str, caplog: pytest.LogCaptureFixture) -> None:
    async def body(running: Running) -> None:
        state = running.manager.state
        first = [pool.worker for pool in running.manager.pools]
        await end_worker(running, "lab")
        await holds(lambda: state.down)
        assert state.ready() == (False, "queue lab has no worker: no error given")
        await holds(lambda: state.ready()[0])
        assert state.restarts == {"lab": 1}
        routes = await lab.Routes.execute_workflow(running.client, input=None, id=f"test-{uuid.uuid4()}")
        assert routes == ["lab", "lab-other", "lab-other"]
        same = [new.worker is old for new, old in zip(running.manager.pools, first, strict=True)]
        assert same == [False, True], "the other pool went on as it was"

    caplog.set_level(logging.INFO, "app.worker")
    # Other tests leave retries on this queue: what of them is in hand then is handed over.
    assert run(temporal_address, body, "lab", "lab-other") in (ExitCode.DRAINED, ExitCode.HANDED_OVER)
    assert "queue lab: its worker ended: no error given. Starting it again in" in caplog.text
    assert "(restart 1 of 3)" in caplog.text


def test_readiness_gives_all_reasons_at_once() -> None:
    state = WorkerState(("lab", "lab-other"), InFlight(), phase="running", temporal_answered_at=time.monotonic() - 60)
    state.problem = "no route"
    state.polls_failing = {"lab": "PollWorkflowTaskQueue gets no answer"}
    state.down = {"lab-other": "it ended"}
    ready, why_not = state.ready()
    assert not ready
    assert "Temporal has not answered for 60 s: no route; queue lab-other has no worker: it ended" in why_not
    assert "queue lab gets no work: PollWorkflowTaskQueue gets no answer" in why_not


def test_restarts_are_counted_by_queue_in_metrics() -> None:
    state = WorkerState(("lab", "lab-other"), InFlight())
    state.restarts["lab"] += 1
    probes = probe_server(state, "127.0.0.1", 0)
    probes.start()
    with urllib.request.urlopen(f"http://{probes.address}/metrics", timeout=5) as answer:
        page = answer.read().decode()
    assert 'fleet_worker_restarts_total{task_queue="lab"} 1.0' in page
    assert 'fleet_worker_restarts_total{task_queue="lab-other"} 0.0' in page


def test_after_its_last_restart_the_other_pools_drain_and_the_code_is_5(
    temporal_address: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def body(running: Running) -> None:
        in_flight = running.manager.state.in_flight
        handle = await lab.Slept.start_workflow(running.client, input=3.0, id=f"test-{uuid.uuid4()}")
        await holds(lambda: any(body.workflow_id == handle.id for body in in_flight.running.values()))
        await end_worker(running, "lab-other")
        # The SDK refuses a second worker of one build for one queue in a process: so the restart fails.
        squatter = build(registry, get_settings(), "lab-other", running.client, nothing, Polls())
        await asyncio.shield(running.ending)
        del squatter
        events = [event async for event in handle.fetch_history_events()]
        finished = [event for event in events if event.HasField("activity_task_completed_event_attributes")]
        assert finished, "the work of the other queue was"

    caplog.set_level(logging.INFO, "app.worker")
    assert run(temporal_address, body, "lab", "lab-other", restarts=1) == ExitCode.POOL_DIED
    assert "(restart 1 of 1)" in caplog.text
    assert "It had its 1 restarts (temporal.worker.restarts): giving up." in caplog.text
    assert "exit code 5" in caplog.text


def test_results_of_a_pool_that_fails_in_a_drain_are_waited_for(temporal_address: str) -> None:
    async def body(running: Running) -> None:
        in_flight = running.manager.state.in_flight
        await lab.Slept.start_workflow(running.client, input=0.5, id=f"test-{uuid.uuid4()}")
        await holds(lambda: in_flight.running)
        with proxy.answering("RespondActivityTaskCompleted", StatusCode.UNAVAILABLE):
            await holds(lambda: in_flight.untold)
            running.stop.set()
            running.manager.pools[0].fail(RuntimeError("its polls do not come through"))
            await asyncio.sleep(SHUTDOWN_S + 1)

    with grpc_proxy(temporal_address) as proxy:
        assert run(proxy.address, body, "lab", drain_timeout_s=30) == ExitCode.DRAINED


def test_a_stop_during_the_pause_before_a_restart_is_a_clean_drain(
    temporal_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervise, "RESTART_BACKOFF_S", (300.0,))  # not to be waited for

    async def body(running: Running) -> None:
        await end_worker(running, "lab-other")
        await holds(lambda: running.manager.state.down)

    assert run(temporal_address, body, "lab-other") == ExitCode.DRAINED


def test_a_pool_that_waits_for_temporal_does_not_keep_the_process_when_another_has_died(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with own_server(tmp_path) as (address, server):

        async def body(running: Running) -> None:
            state = running.manager.state
            await end_worker(running, "lab-other")
            await holds(lambda: state.restarts["lab-other"])
            stop_server(server)
            await end_worker(running, "lab")
            await holds(lambda: "Next try in" in caplog.text)
            await end_worker(running, "lab-other")  # it had its one restart
            await asyncio.shield(running.ending)

        caplog.set_level(logging.INFO, "app.worker")
        assert run(address, body, "lab", "lab-other", restarts=1) == ExitCode.POOL_DIED
    assert "queue lab-other: its worker ended: no error given. It had its 1 restarts" in caplog.text


def test_a_queue_that_is_named_twice_has_one_worker(temporal_address: str) -> None:
    async def body(running: Running) -> None:
        assert [pool.queue for pool in running.manager.pools] == ["lab-other"]

    assert run(temporal_address, body, "lab-other", "lab-other") == ExitCode.DRAINED
