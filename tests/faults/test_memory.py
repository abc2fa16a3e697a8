"""Memory: a worker that leaks is replaced through a drain; one that the kernel kills leaves its work to others."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from app.core.config import ConfigError
from app.core.config.load import load_settings
from app.worker import memory
from tests.apps.faults import Grows
from tests.faults.evidence import Evidence
from tests.faults.runs import at_work, once, outcome
from tests.local.dev_fleet import until
from tests.mistakes.page import Outcome, Section, mistake
from tests.parts.cgroup import memory_limited
from tests.worker.served import Served, start

MIB = 1024 * 1024
LEAK_MIB = 300
CEILING_MIB = 350
"""Twice what a fresh worker has, and less than that and the leak."""
YOUNG = (sys.executable, "-c", "from app.worker import memory, serve; memory.MIN_AGE_S = {age}; serve.main()", "serve")


def young(age_s: float) -> list[str]:
    """The command of a worker that may drain for its memory at another age."""
    return [part.replace("{age}", str(age_s)) for part in YOUNG]


@mistake("A worker above its memory ceiling")
def test_a_worker_above_its_ceiling_drains_finishes_its_work_and_leaves_with_0(
    page: Section, faulty: Callable[..., Served], temporal_address: str, evidence: Evidence
) -> None:
    worker = faulty(command=young(0.0), TEMPORAL__WORKER__MAX_MEMORY=f"{CEILING_MIB}Mi")
    in_hand = at_work(temporal_address, evidence, 3.0)
    start(temporal_address, Grows, LEAK_MIB)
    assert worker.wait(30) == 0
    page.shows(Outcome.LOGGED, worker.text())
    faulty()  # the run's last workflow task
    assert outcome(temporal_address, in_hand) == worker.process.pid
    once(evidence, in_hand)


@mistake("A memory ceiling that is too low")
def test_a_worker_whose_ceiling_is_too_low_says_so_and_serves_for_a_while(
    page: Section, faulty: Callable[..., Served]
) -> None:
    worker = faulty(command=young(15.0), TEMPORAL__WORKER__MAX_MEMORY="10Mi")
    told = "already; draining when it is 15 s old. If it needs that much, raise the ceiling."
    until(lambda: told in worker.text(), 5)
    assert worker.process.poll() is None
    page.shows(Outcome.LOGGED, worker.text())
    assert worker.wait(40) == 0


@mistake("A memory ceiling without a limit")
def test_a_share_of_no_limit_is_told_and_not_in_force(
    page: Section, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(memory, "limit_bytes", lambda: None)
    memory.watch("90%")
    page.shows(Outcome.LOGGED, caplog.text)


@pytest.mark.parametrize("text", ["10", "10MB", "0Mi", "101%", "-1Gi", "half"])
def test_what_is_no_amount_of_memory_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("FLEET_TEMPORAL__WORKER__MAX_MEMORY", text)
    with pytest.raises(ConfigError, match="is no amount of memory"):
        load_settings()


def test_a_share_is_of_the_limit_of_the_own_group_or_of_one_above(tmp_path: Path) -> None:
    inner = tmp_path / "v2" / "pod" / "container"
    inner.mkdir(parents=True)
    (tmp_path / "v2" / "pod" / "memory.max").write_text("1000\n")
    (inner / "memory.max").write_text("max\n")
    (tmp_path / "own").write_text("0::/pod/container\n")
    assert memory.limit_bytes(tmp_path / "v2", tmp_path / "own") == 1000
    v1 = tmp_path / "v1" / "memory"
    v1.mkdir(parents=True)
    (v1 / "memory.limit_in_bytes").write_text("2000\n")
    (tmp_path / "own").write_text("4:memory:/of/the/machine\n3:cpu:/\n")
    assert memory.limit_bytes(tmp_path / "v1", tmp_path / "own") == 2000
    (v1 / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    assert memory.limit_bytes(tmp_path / "v1", tmp_path / "own") is None


def test_the_work_of_a_worker_that_the_kernel_kills_for_its_memory_runs_elsewhere(
    faulty: Callable[..., Served], temporal_address: str, evidence: Evidence
) -> None:
    hurried = {
        "TEMPORAL__ACTIVITIES__HEARTBEAT_TIMEOUT_S": "5",
        "TEMPORAL__WORKER__STICKY_QUEUE_SCHEDULE_TO_START_TIMEOUT_MS": "100",
    }
    with memory_limited(int(1.5 * LEAK_MIB) * MIB) as group:
        doomed = faulty(**hurried)
        group.add(doomed.process.pid)
        in_hand = at_work(temporal_address, evidence, 6.0)
        # Above the limit, and not more: the other worker takes as much, and has no limit.
        start(temporal_address, Grows, 3 * LEAK_MIB)
        assert doomed.wait(30) == -signal.SIGKILL
    other = faulty(**hurried)
    assert outcome(temporal_address, in_hand) == other.process.pid
    assert [line.attempt for line in evidence.lines("start", in_hand)] == [1, 2]
