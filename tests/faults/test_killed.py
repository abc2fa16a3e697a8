"""SIGKILL: activities run elsewhere after their heartbeat timeout, workflows after the sticky timeout."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

from tests.apps.faults import RestsTwice
from tests.faults.evidence import Evidence
from tests.faults.runs import at_work, outcome
from tests.worker.served import Served

HEARTBEAT_S = 2
STICKY_S = 2
LATE_S = 10.0
"""What a busy machine may add; `benchmarks/kill.py` measures what a quiet one adds."""


def test_the_activities_of_a_killed_worker_run_elsewhere_after_their_heartbeat_timeout(
    faulty: Callable[..., Served], temporal_address: str, evidence: Evidence
) -> None:
    settings = {
        "TEMPORAL__ACTIVITIES__HEARTBEAT_TIMEOUT_S": str(HEARTBEAT_S),
        "TEMPORAL__WORKER__STICKY_QUEUE_SCHEDULE_TO_START_TIMEOUT_MS": "100",
    }
    doomed = faulty(**settings)
    workflow_id = at_work(temporal_address, evidence, 1.0)
    doomed.signal(signal.SIGKILL)
    killed_at = time.time()
    assert doomed.wait(10) == -signal.SIGKILL
    other = faulty(**settings)
    assert outcome(temporal_address, workflow_id) == other.process.pid
    first, again = evidence.lines("start", workflow_id)
    assert (first.attempt, again.attempt) == (1, 2)
    assert again.at - killed_at < HEARTBEAT_S + LATE_S


def test_the_workflows_of_a_killed_worker_go_on_elsewhere_after_the_sticky_timeout(
    faulty: Callable[..., Served], temporal_address: str, evidence: Evidence
) -> None:
    settings = {
        "TEMPORAL__WORKER__STICKY_QUEUE_SCHEDULE_TO_START_TIMEOUT_MS": str(STICKY_S * 1000),
        "TEMPORAL__ACTIVITIES__HEARTBEAT_TIMEOUT_S": "1",
    }
    doomed = faulty(**settings)
    workflow_id = at_work(temporal_address, evidence, 1.0, RestsTwice)
    doomed.signal(signal.SIGKILL)
    killed_at = time.time()
    other = faulty(**settings)
    assert outcome(temporal_address, workflow_id) == other.process.pid
    (second,) = [line for line in evidence.lines("start", workflow_id) if line.attempt == 1][1:]
    assert second.at - killed_at < 1 + 1 + STICKY_S + LATE_S
