"""Bodies that nothing in their process can end: another worker has them a second after the drain's deadline."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.apps.leaving import evidence
from tests.apps.leaving.activities import Job
from tests.apps.leaving.workflows import Leaves
from tests.local.dev_fleet import until
from tests.worker.leaving import LEAVING
from tests.worker.served import Served, start


@pytest.mark.parametrize("body", ["blocks_the_loop", "swallows_the_cancel", "blocks_in_c"])
def test_a_stuck_body_runs_again_elsewhere_a_second_after_the_deadline(
    serve: Callable[..., Served], temporal_address: str, ran: Path, body: str
) -> None:
    leaving = serve("--drain-timeout", "0.5", TEMPORAL__WORKER__UNWIND_TIMEOUT_S="0.5", **LEAVING)
    leaving.ready()
    workflow_id = start(temporal_address, Leaves, Job(body=body, seconds=60))
    until(lambda: evidence.lines(ran, "start", workflow_id), 15)
    other = serve(**LEAVING)
    other.ready()
    leaving.signal(signal.SIGTERM)
    assert leaving.wait(20) == 3
    assert "0 finished, 0 handed over, 1 released, 0 abandoned; exit code 3" in leaving.text()
    second = until(lambda: evidence.lines(ran, "end", workflow_id), 20)[0]
    assert (second["attempt"], second["pid"]) == (2, other.process.pid)
