"""Temporal is away with work in hand: what has ended waits for it, within the budget of a drain, and is not redone."""

from __future__ import annotations

import asyncio
import re
import signal
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from temporalio.client import WorkflowFailureError

from tests.apps.leaving import evidence
from tests.apps.leaving.activities import Job
from tests.apps.leaving.workflows import Leaves
from tests.local.dev_fleet import until
from tests.parts.temporal import freeze, own_server, ready, start_server, stop_server
from tests.worker.leaving import LEAVING
from tests.worker.served import Served, client, result, start

OUTAGE_S = 18.0
"""More than the 8 to 14 s for which the SDK repeats a call by itself."""

FROZEN_S = 32.0
"""More than the 30 s after which the SDK's core gives a call up for good."""


def begin(address: str, job: Job) -> str:
    """Start a run on a server that goes with its test."""
    workflow_id = f"outage-{uuid.uuid4()}"
    with client(address) as call:
        call(lambda c: Leaves.start_workflow(c, input=job, id=workflow_id))
    return workflow_id


def test_results_and_failures_wait_for_temporal_in_a_drain_and_no_body_is_repeated(
    serve: Callable[..., Served], tmp_path: Path, ran: Path
) -> None:
    (tmp_path / "server").mkdir()
    with own_server(tmp_path / "server") as (address, server):
        leaving = serve("--drain-timeout", "120", TEMPORAL__ADDRESS=address, **LEAVING)
        leaving.ready()
        ids = [begin(address, Job(body=body, seconds=5)) for body in ("sleeps", "sleeps", "fails")]
        until(lambda: len(evidence.lines(ran, "start")) == 3, 15)
        stop_server(server)
        leaving.signal(signal.SIGTERM)
        until(lambda: len(evidence.lines(ran, "end")) == 3, 15)
        time.sleep(OUTAGE_S)
        assert leaving.process.poll() is None, "it holds what Temporal has not taken"
        again = start_server(tmp_path / "server", int(address.rpartition(":")[2]))
        try:
            asyncio.run(ready(address, again, tmp_path / "server" / "log"))
            assert leaving.wait(60) == 0
            assert "3 finished, 0 handed over, 0 released, 0 abandoned; exit code 0" in leaving.text()
            serve(TEMPORAL__ADDRESS=address, **LEAVING).ready()
            assert [result(address, id_) for id_ in ids[:2]] == ["slept", "slept"]
            with pytest.raises(WorkflowFailureError):
                result(address, ids[2])
            assert len(evidence.lines(ran, "start")) == 3
        finally:
            stop_server(again)


def test_a_result_that_a_frozen_server_has_swallowed_is_told_again(
    serve: Callable[..., Served], tmp_path: Path, ran: Path
) -> None:
    (tmp_path / "server").mkdir()
    with own_server(tmp_path / "server") as (address, server):
        leaving = serve("--drain-timeout", "120", TEMPORAL__ADDRESS=address, **LEAVING)
        leaving.ready()
        workflow_id = begin(address, Job(body="sleeps", seconds=5))
        until(lambda: evidence.lines(ran, "start"), 15)
        freeze(server)
        leaving.signal(signal.SIGTERM)
        until(lambda: evidence.lines(ran, "end"), 15)
        time.sleep(FROZEN_S)
        assert leaving.process.poll() is None, "it holds what Temporal has not taken"
        server.send_signal(signal.SIGCONT)
        assert leaving.wait(60) == 0
        serve(TEMPORAL__ADDRESS=address, **LEAVING).ready()
        assert result(address, workflow_id) == "slept"
        assert len(evidence.lines(ran, "start")) == 1


def test_what_temporal_did_not_take_by_the_deadline_is_told_as_abandoned(
    serve: Callable[..., Served], tmp_path: Path, ran: Path
) -> None:
    (tmp_path / "server").mkdir()
    with own_server(tmp_path / "server") as (address, server):
        leaving = serve("--drain-timeout", "4", TEMPORAL__ADDRESS=address, **LEAVING)
        leaving.ready()
        workflow_id = begin(address, Job(body="sleeps", seconds=5))
        until(lambda: evidence.lines(ran, "start"), 15)
        stop_server(server)
        until(lambda: evidence.lines(ran, "end"), 15)
        leaving.signal(signal.SIGTERM)
        assert leaving.wait(40) == 3
        assert re.search(rf"leaving with 1 activities in hand.*: sleeps of {workflow_id} \(attempt 1\)", leaving.text())
        assert "0 finished, 0 handed over, 0 released, 1 abandoned; exit code 3" in leaving.text()


def test_a_result_that_nobody_waits_for_does_not_hold_a_drain(
    serve: Callable[..., Served], temporal_address: str, ran: Path
) -> None:
    leaving = serve("--drain-timeout", "120", **LEAVING)
    leaving.ready()
    workflow_id = start(temporal_address, Leaves, Job(body="sleeps", seconds=5))
    until(lambda: evidence.lines(ran, "start", workflow_id), 15)
    with client(temporal_address) as call:
        call(lambda c: c.get_workflow_handle(workflow_id).terminate())
    leaving.signal(signal.SIGTERM)
    assert leaving.wait(30) == 0
    assert "1 finished, 0 handed over, 0 released, 0 abandoned" in leaving.text()
