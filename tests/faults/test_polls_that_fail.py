"""Polls that do not come through: readiness says so, and a worker whose connection is dead gets a new one."""

from __future__ import annotations

import time

from grpc import StatusCode  # type: ignore[import-untyped]

from tests.faults.evidence import Evidence
from tests.faults.runs import works
from tests.local.dev_fleet import until
from tests.mistakes.page import Outcome, Section, mistake
from tests.parts.grpc_proxy import Proxy
from tests.parts.relay import Relay
from tests.worker.served import Served

SDK_PATIENCE_S = 60
"""What the SDK bears of refused polls before it raises anything."""


def unready(worker: Served, text: str, within_s: float) -> None:
    until(lambda: text in worker.probe("/readyz")[1]["detail"], within_s, 0.1)
    assert worker.probe("/readyz")[0] == 503
    assert worker.probe("/livez")[0] == 200, "a restart would not help"


@mistake("Polls that are refused")
def test_refused_polls_make_a_worker_unready_at_once_and_ready_again_when_they_are_let_in(
    page: Section, worker: Served, proxy: Proxy
) -> None:
    begin = time.monotonic()
    with proxy.answering("PollActivityTaskQueue", StatusCode.PERMISSION_DENIED):
        unready(worker, "queue faults gets no work: PollActivityTaskQueue gets PERMISSION_DENIED", 20)
        assert time.monotonic() - begin < SDK_PATIENCE_S / 2
        assert 'fleet_worker_polls_failing{task_queue="faults"} 1.0' in worker.metrics()
    worker.ready()
    page.shows(Outcome.LOGGED, worker.text())
    assert "its polls come through again" in worker.text()
    assert worker.process.poll() is None


def test_throttled_polls_are_told_and_no_connection_is_made_for_them(worker: Served, proxy: Proxy, link: Relay) -> None:
    connects = link.connects
    with proxy.answering("PollWorkflowTaskQueue", StatusCode.RESOURCE_EXHAUSTED):
        unready(worker, "queue faults gets no work: PollWorkflowTaskQueue gets RESOURCE_EXHAUSTED", 30)
    worker.ready()
    assert link.connects == connects


@mistake("A connection that is dead")
def test_a_worker_whose_connection_goes_nowhere_goes_on_with_a_new_one(
    page: Section, worker: Served, proxy: Proxy, temporal_address: str, evidence: Evidence
) -> None:
    zombie = list(proxy.peers)
    with proxy.answering("Poll*", StatusCode.UNAVAILABLE, peers=zombie):
        unready(worker, "queue faults gets no work: Poll", 30)
        worker.ready()
        assert works(temporal_address) == worker.process.pid
    page.shows(Outcome.LOGGED, worker.text())
    assert len(evidence.lines("start")) == 1


def test_a_connection_that_is_cut_is_made_again_and_no_trouble(
    worker: Served, link: Relay, temporal_address: str
) -> None:
    for _ in range(3):
        link.cut()
        assert works(temporal_address) == worker.process.pid
    worker.ready()
    assert "do not come through" not in worker.text()


def test_an_address_that_points_elsewhere_is_followed(
    worker: Served, link: Relay, proxy: Proxy, temporal_address: str
) -> None:
    link.target = temporal_address  # past the proxy: another server of the same Temporal
    link.cut()
    assert works(temporal_address) == worker.process.pid
    assert not proxy.calls["RespondWorkflowTaskCompleted"], "the run went another way"
