"""The worker process: what it says, how it drains, how it ends. Real processes on a real server."""

from __future__ import annotations

import asyncio
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

from app.core.ports import free_port
from app.core.services.temporal.temporal_client import TemporalClientService, TemporalUnavailable
from app.worker import connect
from app.worker.health import WorkerState
from app.worker.in_flight import InFlight
from tests.apps.lab import workflows as lab
from tests.local.dev_fleet import until
from tests.parts.temporal import start_server, stop_server
from tests.worker.pools import lab_settings
from tests.worker.served import COMMAND, Served, attempts, client, result, start


def test_an_unknown_queue_is_refused_with_the_nearest_one(serve: Callable[..., Served]) -> None:
    served = serve("--queue", "lab-othr", "--queue", "lab", "--queue", "nonsense")
    assert served.wait(20) == 2
    assert '--queue: no workflow or activity is declared on queue "lab-othr"' in served.text()
    assert 'Did you mean "lab-other"?' in served.text()
    assert '"nonsense"' in served.text(), "all problems at once"
    assert "Traceback" not in served.text()


@pytest.mark.parametrize("option", ["--drain-timeout", "--connect-timeout"])
@pytest.mark.parametrize("value", ["-1", "0", "nan", "inf", "soon", ""])
def test_a_time_that_is_none_is_a_usage_error(serve: Callable[..., Served], option: str, value: str) -> None:
    served = serve(f"{option}={value}")
    assert served.wait(20) == 2
    assert f"argument {option}: {value!r} is not a number of seconds above 0" in served.text()


def test_a_log_level_that_is_none_is_a_usage_error(serve: Callable[..., Served]) -> None:
    served = serve("--log-level", "chatty")
    assert served.wait(20) == 2
    assert "DEBUG" in served.text()


def test_the_log_level_is_the_least_that_is_logged(serve: Callable[..., Served]) -> None:
    served = serve("--log-level", "warning", "--queue", "lab-other")
    served.ready()
    served.signal(signal.SIGTERM)
    assert served.wait(20) == 0
    assert served.text() == ""


def test_serve_is_refused_where_there_is_no_temporal(serve: Callable[..., Served]) -> None:
    served = serve(TEMPORAL__ENABLED="false")
    assert served.wait(20) == 2
    assert "temporal.enabled" in served.text()
    assert "FLEET_TEMPORAL__ENABLED" in served.text()
    assert "Traceback" not in served.text()


def test_each_named_queue_is_served_and_no_other(serve: Callable[..., Served]) -> None:
    served = serve("--queue", "lab-other", "--queue", "lab", "--queue", "lab-other")
    served.ready()
    assert "serving lab-other, lab as served" in served.text()
    one = serve("--queue", "lab-other")
    one.ready()
    assert "serving lab-other as served" in one.text()


def test_a_broken_configuration_is_refused_without_a_traceback(serve: Callable[..., Served], tmp_path: Path) -> None:
    file = tmp_path / "broken.yaml"
    file.write_text("temporal:\n  adress: x\nscaling:\n  min_replicas: -1\napi:\n  port: eighty\n")
    served = serve("--config", str(file))
    assert served.wait(20) == 2
    lines = served.text().splitlines()
    assert [line.split(": ")[0] for line in lines] == [f"{file}:2", f"{file}:4", f"{file}:6"]


def test_a_workflow_that_the_sandbox_refuses_is_told_with_its_place(serve: Callable[..., Served]) -> None:
    served = serve(TEMPORAL__WORKER__PACKAGES='["tests.apps.random_at_import"]')
    assert served.wait(20) == 2
    assert "tests/apps/random_at_import/__init__.py:10: " in served.text()
    assert "must be deterministic" in served.text()
    assert "Traceback" not in served.text()


def test_a_library_that_the_sandbox_refuses_is_named_with_the_setting_that_lets_it_in(
    serve: Callable[..., Served],
) -> None:
    served = serve(TEMPORAL__WORKER__PACKAGES='["tests.apps.library_at_import"]')
    assert served.wait(20) == 2
    place, remedy = served.text().splitlines()
    assert place.startswith("tests/apps/library_at_import/neighbour.py:3: workflow Fetches cannot be imported")
    remedy_words = (
        "Import httpx in the module of the activities only, or name it in temporal.worker.passthrough_modules."
    )
    assert remedy.strip() == remedy_words
    let_in = serve(
        TEMPORAL__WORKER__PACKAGES='["tests.apps.library_at_import"]',
        TEMPORAL__WORKER__PASSTHROUGH_MODULES='["httpx"]',
    )
    let_in.ready()


def test_drain_timeout_on_the_command_line_wins_over_a_queues_own(
    serve: Callable[..., Served], temporal_address: str
) -> None:
    served = serve("--drain-timeout", "7", QUEUES='{"lab": {"worker": {"drain_timeout_s": 120}}}')
    served.ready()
    served.signal(signal.SIGTERM)
    assert served.wait(20) == 0
    assert "SIGTERM received; 7 s for the work in hand" in served.text()


def test_a_health_port_that_is_taken_names_the_setting(serve: Callable[..., Served], temporal_address: str) -> None:
    served = serve(TEMPORAL__WORKER__HEALTH_PORT=temporal_address.split(":")[1])
    assert served.wait(20) == 2
    assert "FLEET_TEMPORAL__WORKER__HEALTH_PORT" in served.text()
    assert "Traceback" not in served.text()


def test_without_temporal_it_stays_alive_and_not_ready_and_serves_when_temporal_comes(
    serve: Callable[..., Served], tmp_path: Path
) -> None:
    port = free_port("127.0.0.1")
    served = serve("--queue", "lab", TEMPORAL__ADDRESS=f"127.0.0.1:{port}")
    until(lambda: "Next try in" in served.text(), 20)
    status, body = served.probe("/readyz")
    assert status == 503
    assert "nothing listens there" in body["detail"]
    assert served.probe("/livez")[0] == 200
    assert "Traceback" not in served.text()
    folder = tmp_path / "late"
    folder.mkdir()
    server = start_server(folder, port)
    try:
        served.ready()
        served.signal(signal.SIGTERM)
        assert served.wait(20) == 0
    finally:
        stop_server(server)


def test_connect_timeout_gives_up_with_4(serve: Callable[..., Served]) -> None:
    served = serve("--connect-timeout", "1", TEMPORAL__ADDRESS=f"127.0.0.1:{free_port('127.0.0.1')}")
    assert served.wait(20) == 4
    assert "Giving up after" in served.text()
    assert "Traceback" not in served.text()


def test_a_missing_namespace_ends_it_at_once_with_4(serve: Callable[..., Served]) -> None:
    served = serve(TEMPORAL__NAMESPACE="no-such-namespace")
    assert served.wait(20) == 4
    assert "no-such-namespace" in served.text()
    assert "temporal.namespace" in served.text()


def test_a_pause_that_is_logged_is_the_pause_that_is_made(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(connect, "backoff_s", lambda _: 60.0)
    service = TemporalClientService(lab_settings(f"127.0.0.1:{free_port('127.0.0.1')}").temporal)
    state = WorkerState(("lab",), InFlight())

    async def main() -> None:
        with pytest.raises(TemporalUnavailable):
            await connect.connect(service, state, asyncio.Event(), timeout_s=3.0)

    asyncio.run(main())
    pauses = re.findall(r"Next try in ([\d.]+) s", caplog.text)
    assert len(pauses) == 1
    assert float(pauses[0]) <= 3.0


def test_a_descriptor_of_nobody_is_told_in_a_line(serve: Callable[..., Served]) -> None:
    served = serve("--while-open", "99")
    assert served.wait(20) == 2
    assert served.text() == "--while-open 99: Bad file descriptor. It is for --reload, which gives it.\n"


def test_sigterm_before_the_first_poll_ends_it_at_once(serve: Callable[..., Served]) -> None:
    for delay_s in (0.15, 0.4):
        served = serve(TEMPORAL__ADDRESS=f"127.0.0.1:{free_port('127.0.0.1')}")
        time.sleep(delay_s)
        begin = time.monotonic()
        served.signal(signal.SIGTERM)
        assert served.wait(10) in (0, -signal.SIGTERM), "the interpreter itself has no handler in its first moments"
        assert time.monotonic() - begin < 5


def test_a_drain_finishes_the_work_in_hand(serve: Callable[..., Served], temporal_address: str) -> None:
    served = serve()
    served.ready()
    workflow_id = start(temporal_address, lab.Slept, 6.0)
    served.in_flight(1)
    served.signal(signal.SIGTERM)
    until(lambda: served.probe("/readyz")[0] == 503, 15, 0.05)
    assert served.wait(15) == 0
    account = r"drain: done in \d+\.\d s: 1 finished, 0 handed over, 0 released, 0 abandoned; exit code 0\n"
    assert re.search(account, served.text())
    serve().ready()
    assert result(temporal_address, workflow_id) == "slept"


def test_a_second_sigterm_does_not_shorten_a_drain(serve: Callable[..., Served], temporal_address: str) -> None:
    served = serve()
    served.ready()
    start(temporal_address, lab.Slept, 3.0)
    served.in_flight(1)
    served.signal(signal.SIGTERM)
    until(lambda: "SIGTERM received" in served.text(), 10, 0.05)
    served.signal(signal.SIGTERM)
    assert served.wait(15) == 0
    assert "1 finished, 0 handed over" in served.text()
    assert "SIGTERM again; the drain goes on" in served.text()


def test_a_second_ctrl_c_ends_at_once(serve: Callable[..., Served], temporal_address: str) -> None:
    served = serve()
    served.ready()
    start(temporal_address, lab.Slept, 20.0)
    served.in_flight(1)
    served.signal(signal.SIGINT)
    until(lambda: "drain: SIGINT received" in served.text(), 5)
    served.signal(signal.SIGINT)
    assert served.wait(10) == 130


def test_work_that_does_not_fit_is_handed_over_with_3(serve: Callable[..., Served], temporal_address: str) -> None:
    served = serve("--drain-timeout", "1")
    served.ready()
    workflow_id = start(temporal_address, lab.Slept, 6.0)
    served.in_flight(1)
    served.signal(signal.SIGTERM)
    assert served.wait(10) == 3
    assert "0 finished, 1 handed over, 0 released, 0 abandoned; exit code 3" in served.text()
    until(lambda: attempts(temporal_address, workflow_id) == [2], 5)
    serve().ready()
    assert result(temporal_address, workflow_id) == "slept"


@pytest.mark.parametrize("workflow", [lab.Blocks, lab.Swallows])
def test_a_stuck_body_cannot_outlive_the_budget(
    serve: Callable[..., Served], temporal_address: str, workflow: Any
) -> None:
    served = serve("--drain-timeout", "1", TEMPORAL__WORKER__UNWIND_TIMEOUT_S="1")
    served.ready()
    workflow_id = start(temporal_address, workflow, 30.0)
    served.in_flight(1)
    begin = time.monotonic()
    served.signal(signal.SIGTERM)
    assert served.wait(15) == 3
    assert 1.8 < time.monotonic() - begin < 10, "the watchdog's 2 s, and room for a slow machine"
    assert "leaving with 1 activities in hand" in served.text()
    assert "0 finished, 0 handed over, 1 released, 0 abandoned; exit code 3" in served.text()
    with client(temporal_address) as call:
        call(lambda c: c.get_workflow_handle(workflow_id).terminate())


def test_probes_answer_while_the_loop_is_blocked(serve: Callable[..., Served], temporal_address: str) -> None:
    served = serve("--drain-timeout", "1", TEMPORAL__WORKER__UNWIND_TIMEOUT_S="0.5")
    served.ready()
    start(temporal_address, lab.Blocks, 15.0)
    served.in_flight(1)
    assert served.probe("/livez")[0] == 200
    status, body = until(lambda: (p := served.probe("/livez"))[0] == 503 and p, 10)
    assert (status, "has not turned" in body["detail"]) == (503, True)


def test_metrics_are_one_page_of_the_process_and_the_sdk(serve: Callable[..., Served], temporal_address: str) -> None:
    served = serve(command=("env", "http_proxy=http://127.0.0.1:1", *COMMAND))  # which is for what is outside
    served.ready()
    workflow_id = start(temporal_address, lab.Slept, 0.1)
    result(temporal_address, workflow_id)
    page = served.metrics()
    assert 'fleet_worker_activities_ended_total{activity_type="sleep",outcome="completed",task_queue="lab"} 1.0' in page
    assert 'fleet_worker_state{state="running"} 1.0' in page
    assert "temporal_activity_schedule_to_start_latency_seconds_bucket" in page
    assert "fleet_worker_sdk_metrics_up 1" in page
    assert "process_resident_memory_bytes" in page


def test_the_worker_tells_temporal_its_slots_under_its_own_name(
    serve: Callable[..., Served], temporal_address: str
) -> None:
    from temporalio.api.workflowservice.v1 import ListWorkersRequest

    served = serve("--queue", "lab")
    served.ready()
    workflow_id = start(temporal_address, lab.Slept, 6.0)

    async def used(c: Client) -> bool:
        answer = await c.workflow_service.list_workers(ListWorkersRequest(namespace="default", page_size=1000))
        beats = [info.worker_heartbeat for info in answer.workers_info]
        mine = [b for b in beats if b.worker_identity == "served" and b.host_info.process_id == str(served.process.pid)]
        return any(b.activity_task_slots_info.current_used_slots == 1 for b in mine)

    with client(temporal_address) as call:
        until(lambda: call(used), 20)
    assert result(temporal_address, workflow_id) == "slept"
