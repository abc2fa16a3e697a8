"""How a drain ends: inside its budget, whatever is blocked; with its last spans sent; and as its signals say."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.apps.leaving import evidence
from tests.apps.leaving.activities import Job
from tests.apps.leaving.workflows import Leaves
from tests.local.dev_fleet import until
from tests.parts.black_hole import black_hole
from tests.parts.collector import collector
from tests.parts.full_pipe import fill, full_pipe
from tests.worker.leaving import LEAVING
from tests.worker.served import Served, start


def test_a_log_that_nobody_reads_cannot_hold_a_drain_beyond_its_budget(temporal_address: str) -> None:
    settings = {
        "TEMPORAL__ADDRESS": temporal_address,
        "TEMPORAL__WORKER__UNWIND_TIMEOUT_S": "0.5",
        "TEMPORAL__WORKER__FLUSH_TIMEOUT_S": "0.5",
        **LEAVING,
    }
    env = {**os.environ, **{f"FLEET_{name}": value for name, value in settings.items()}}
    command = [sys.executable, "-m", "app.worker.main", "serve", "--drain-timeout", "0.5"]
    with full_pipe() as (reading, writing):
        process = subprocess.Popen(command, env=env, stderr=writing, start_new_session=True)
        try:
            text = b""
            while b"serving leaving" not in text:
                text += os.read(reading, 65536)
            fill(writing)
            begin = time.monotonic()
            process.send_signal(signal.SIGTERM)
            process.wait(30)
            assert time.monotonic() - begin < 15, "1.5 s, 4 s to release, and room for a slow machine"
        finally:
            process.kill()
            process.wait()


def test_the_spans_of_the_drain_itself_reach_a_collector_that_answers(
    serve: Callable[..., Served], temporal_address: str, ran: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with collector() as (variables, names):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        served = serve(TEMPORAL__WORKER__FLUSH_TIMEOUT_S="20", **LEAVING)
        served.ready()
        workflow_id = start(temporal_address, Leaves, Job(body="sleeps", seconds=1))
        until(lambda: evidence.lines(ran, "start", workflow_id), 15)
        assert "RunActivity:sleeps" not in names
        served.signal(signal.SIGTERM)
        assert served.wait(40) == 0
    assert "RunActivity:sleeps" in names


def test_the_drain_is_on_the_page_of_metrics_while_it_goes_on(
    serve: Callable[..., Served], temporal_address: str, ran: Path
) -> None:
    served = serve("--drain-timeout", "30", **LEAVING)
    served.ready()
    assert "fleet_worker_drain" not in served.metrics()
    short, long = (start(temporal_address, Leaves, Job(body="sleeps", seconds=s)) for s in (2, 12))
    until(lambda: len(evidence.lines(ran, "start")) == 2, 15)
    served.signal(signal.SIGTERM)
    until(lambda: evidence.lines(ran, "end", short), 15)
    page = until(lambda: 'outcome="finished"} 1.0' in (page := served.metrics()) and page, 10, 0.1)
    assert 'fleet_worker_drain_activities{outcome="in_hand"} 1.0' in page
    assert re.search(r"fleet_worker_drain_seconds \d", page)
    assert served.wait(30) == 0
    assert len(evidence.lines(ran, "end", long)) == 1


def test_sigterm_while_connecting_ends_it_at_once(serve: Callable[..., Served]) -> None:
    with black_hole() as silent:
        served = serve(TEMPORAL__ADDRESS=silent.address, TEMPORAL__RPC_TIMEOUT_S="60")
        until(lambda: silent.connects, 20, 0.02)
        served.signal(signal.SIGTERM)
        assert served.wait(10) == 0
    assert "SIGTERM received" in served.text()
