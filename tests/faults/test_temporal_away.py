"""Temporal is away, throttles, or loses answers while work is in hand: it is done once, and nobody restarts."""

from __future__ import annotations

import asyncio
import signal
import time
import uuid
from collections.abc import Callable

from google.protobuf.duration_pb2 import Duration
from grpc import StatusCode  # type: ignore[import-untyped]
from temporalio.api.operatorservice.v1 import DeleteNamespaceRequest
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.client import Client

from tests.faults.evidence import Evidence
from tests.faults.runs import at_work, once, outcome
from tests.local.dev_fleet import until
from tests.mistakes.page import Outcome, Section, mistake
from tests.parts.grpc_proxy import Proxy
from tests.parts.relay import Relay
from tests.worker.served import Served

THROTTLED_S = 9.0
DELETED_S = 20.0
"""Promised by docs/drain.md: three health checks, 5 s apart, and a shutdown of 3 s."""
BUSY_S = 10.0
"""Allowed on top: the calls of the checks and the end of the process, on a busy machine."""


def test_temporal_that_is_away_at_the_start_is_waited_for(faulty: Callable[..., Served], link: Relay) -> None:
    with link.refusing():
        worker = faulty(ready=False)
        until(lambda: "Next try in" in worker.text(), 20)
        assert worker.probe("/livez")[0] == 200
        assert worker.probe("/readyz")[0] == 503
    worker.ready()


def test_an_outage_during_work_makes_it_unready_and_ready_again_without_a_restart(
    worker: Served, link: Relay, temporal_address: str, evidence: Evidence
) -> None:
    workflow_id = at_work(temporal_address, evidence, 4.0)
    with link.refusing():
        until(lambda: worker.probe("/readyz")[0] == 503, 30)
        assert worker.probe("/livez")[0] == 200
    assert outcome(temporal_address, workflow_id) == worker.process.pid
    worker.ready()
    assert "Starting it again" not in worker.text()


def test_a_short_outage_during_a_drain_does_not_cost_the_work_in_hand(
    faulty: Callable[..., Served], link: Relay, temporal_address: str, evidence: Evidence
) -> None:
    worker = faulty()
    workflow_id = at_work(temporal_address, evidence, 1.5)
    worker.signal(signal.SIGTERM)
    with link.refusing():
        until(lambda: evidence.lines("end", workflow_id), 15)
    assert worker.wait(30) == 0
    faulty()  # the run's last workflow task
    assert outcome(temporal_address, workflow_id) == worker.process.pid
    once(evidence, workflow_id)


def test_a_completion_that_is_throttled_for_nine_seconds_arrives_and_nothing_runs_twice(
    worker: Served, proxy: Proxy, temporal_address: str, evidence: Evidence
) -> None:
    with proxy.answering("RespondActivityTaskCompleted", StatusCode.RESOURCE_EXHAUSTED) as fault:
        workflow_id = at_work(temporal_address, evidence, 0.5)
        until(lambda: fault.met, 15)
        time.sleep(THROTTLED_S)
    assert outcome(temporal_address, workflow_id) == worker.process.pid
    once(evidence, workflow_id)


def test_a_completion_whose_answer_is_lost_is_told_again_and_nothing_runs_twice(
    worker: Served, proxy: Proxy, temporal_address: str, evidence: Evidence
) -> None:
    with proxy.losing_answers("RespondActivityTaskCompleted", times=1) as fault:
        workflow_id = at_work(temporal_address, evidence, 0.2)
        assert outcome(temporal_address, workflow_id) == worker.process.pid
        until(lambda: proxy.calls["RespondActivityTaskCompleted"] >= 2, 15)
        assert fault.met == 1
    once(evidence, workflow_id)
    assert worker.probe("/readyz")[0] == 200


@mistake("A namespace that is deleted under a worker")
def test_a_namespace_that_is_deleted_ends_the_worker_soon_with_4(
    page: Section, faulty: Callable[..., Served], proxy: Proxy, temporal_address: str
) -> None:
    name = f"doomed-{uuid.uuid4().hex[:8]}"

    async def register() -> None:
        client = await Client.connect(temporal_address)
        await client.workflow_service.register_namespace(
            RegisterNamespaceRequest(namespace=name, workflow_execution_retention_period=Duration(seconds=86400))
        )

    async def delete() -> None:
        client = await Client.connect(temporal_address)
        await client.operator_service.delete_namespace(DeleteNamespaceRequest(namespace=name))

    asyncio.run(register())
    worker = faulty(TEMPORAL__NAMESPACE=name)
    until(lambda: proxy.calls["PollActivityTaskQueue"] and proxy.calls["PollWorkflowTaskQueue"], 15)
    asyncio.run(delete())
    assert worker.wait(DELETED_S + BUSY_S) == 4  # the SDK alone: about 110 s
    page.shows(Outcome.LOGGED, worker.text())
    assert "the budget" not in worker.text(), "the SDK's own shutdown, which may hang then, is not waited for"


def test_a_namespace_that_is_unknown_for_a_moment_ends_nothing(worker: Served, proxy: Proxy) -> None:
    with proxy.answering(
        "DescribeNamespace", StatusCode.NOT_FOUND, "Namespace default is not found.", times=2
    ) as fault:
        until(lambda: fault.met == 2, 30)
    before = proxy.calls["DescribeNamespace"]
    until(lambda: proxy.calls["DescribeNamespace"] > before, 30)
    worker.ready()
    assert worker.process.poll() is None
