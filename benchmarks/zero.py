"""From no pod to a workflow that is done: `FLEET_TEST_CLUSTER=build python -m benchmarks.zero --until 20`

Two releases of the example on a real Kubernetes, each with a Temporal namespace of its own, all replicas at 0. At one
moment an order is placed in both: in one our operator has to see it; in the other the two Deployments are scaled by
hand as the order is placed, which is the floor that no autoscaler gets below. Both share the machine, and its load. An
order runs on two queues, whose workers start side by side: payments wakes with orders.

Times are Temporal's own, from the start of the workflow to its end; beside them, when both Deployments had been told to
have a pod (for ours by the audit log of the API server): all that follows is the pods', which compete for the machine.
Orders are placed by the HTTP API, the `temporal` command and a schedule, in turn; the pauses are random, so that an
order meets each phase of the operator's looks. Temporal keeps its statistics for the 5 s that are its default.

    --until N   go on until N pairs are recorded for each of the three
    --summary   print what is recorded
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from secrets import token_hex
from statistics import median, quantiles
from typing import Any

from google.protobuf.duration_pb2 import Duration
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.client import Client, Schedule, ScheduleActionStartWorkflow, ScheduleSpec, WorkflowHandle
from temporalio.service import RPCError

from app.local.server import command
from benchmarks.record import Record, main_of
from tests.cluster.client import Cluster
from tests.cluster.fixtures import built_cluster
from tests.cluster.release import NAME, SETTLE_S, Release, TemporalServer, release, temporal_server
from tests.image.build import image_tar
from tests.local.dev_fleet import ORDER, until
from tests.parts.postgres import postgres_server

POOLS = ("orders", "payments")
BY_HAND = "by-hand"
STARTERS = ("api", "cli", "schedule")
SLEEP = {f"queues__{pool}__minReplicas": "0" for pool in POOLS}
LIMIT_S = 120


@contextmanager
def releases() -> Iterator[tuple[Release, Release]]:
    """The one with an operator, and the one that is scaled by hand; all pods but those of the APIs are gone."""
    with ExitStack() as stack:
        tar = image_tar()
        cluster: Cluster = stack.enter_context(built_cluster(Path(stack.enter_context(tempfile.TemporaryDirectory()))))
        temporal = stack.enter_context(temporal_server(cluster, statistics_cache_s=5))
        ledger = stack.enter_context(postgres_server(cluster.host_address or "127.0.0.1"))
        asyncio.run(_make_namespace(temporal))
        ours, hand = (stack.enter_context(release(tar, cluster, temporal, ledger)) for _ in range(2))
        ours.install(**SLEEP)
        hand.install(temporal__namespace=BY_HAND, operator__enabled="false")
        for each in (ours, hand):
            until(each.ready, SETTLE_S, 0.5)
        yield ours, hand


async def _make_namespace(temporal: TemporalServer) -> None:
    client = await Client.connect(temporal.address)
    keep = Duration(seconds=86400)
    request = RegisterNamespaceRequest(namespace=BY_HAND, workflow_execution_retention_period=keep)
    await client.workflow_service.register_namespace(request)
    for _ in range(100):
        try:
            await (await Client.connect(temporal.address, namespace=BY_HAND)).count_workflows()
        except RPCError:
            await asyncio.sleep(0.2)
        else:
            return
    raise RuntimeError(f"namespace {BY_HAND} does not come")


def put_to_sleep(ours: Release, hand: Release) -> None:
    """No pod of a worker is left, and the pools are automatic again."""
    for pool in POOLS:
        ours.kubectl("scale", f"wp/{pool}", "--replicas=0")
        hand.kubectl("scale", f"deployment/{NAME}-{pool}", "--replicas=0")
    for each in (ours, hand):
        until(lambda each=each: not each.pods("app.kubernetes.io/component=worker"), SETTLE_S, 0.3)  # type: ignore[misc]
    for pool in POOLS:
        ours.kubectl("patch", f"wp/{pool}", "--type=merge", "-p", '{"spec":{"replicas":null}}')
    until(lambda: all(ours.pool(pool).get("mode") == "Automatic" for pool in POOLS), SETTLE_S, 0.3)
    assert all(ours.replicas(pool) == 0 for pool in POOLS), "it woke before anything was started"


async def measure(ours: Release, hand: Release, starter: str) -> dict[str, Any]:
    """One order here and one there."""
    order, address = f"{starter}-{token_hex(4)}", ours.temporal.address
    there = await Client.connect(address, namespace=BY_HAND)
    log = _scales(ours)
    here = await Client.connect(address)
    await asyncio.sleep(random.uniform(6, 12))
    await asyncio.to_thread(START[starter], ours, order)
    handle, scaled_at = await asyncio.gather(
        there.start_workflow("OrderWorkflow", _input(order), id=f"order-{order}", task_queue="orders"),
        asyncio.to_thread(_scale_up, hand),
    )
    (began, woken), (began_there, floor) = await asyncio.gather(
        _began_and_done_s(await _of(here, starter, order)), _began_and_done_s(handle)
    )
    wanted = {"wanted_s": round(max(log()) - began, 3), "by_hand_wanted_s": round(scaled_at - began_there, 3)}
    reasons = [[event for event in ours.events(pool) if "0 -> 1" in event][-1] for pool in POOLS]
    return {"starter": starter, "woken_s": woken, "by_hand_s": floor, **wanted, "events": reasons}


def _scales(release: Release) -> Callable[[], list[float]]:
    """When each Deployment was first scaled by the operator from now on, once asked: Unix time."""
    log = release.cluster.audit_log
    assert log
    begins = log.stat().st_size

    def read() -> list[float]:
        first: dict[str, float] = {}
        with log.open() as file:
            file.seek(begins)
            for line in file:
                about = (event := json.loads(line)).get("objectRef", {})
                scale = (about.get("namespace"), about.get("subresource")) == (release.namespace, "scale")
                ours = event["user"]["username"].startswith(f"system:serviceaccount:{release.namespace}:")
                if scale and ours and event["responseStatus"]["code"] < 300 and "dryRun" not in event["requestURI"]:
                    first.setdefault(about["name"], datetime.fromisoformat(event["stageTimestamp"]).timestamp())
        assert len(first) == len(POOLS), f"scaled: {sorted(first)}"
        return list(first.values())

    return read


async def _of(client: Client, starter: str, order: str) -> WorkflowHandle[Any, Any]:
    if starter != "schedule":
        return client.get_workflow_handle(f"order-{order}")
    # A schedule adds the time to the id.
    while True:
        async for found in client.list_workflows(f"WorkflowId STARTS_WITH 'order-{order}'"):
            return client.get_workflow_handle(found.id)
        await asyncio.sleep(0.2)


async def _began_and_done_s(handle: WorkflowHandle[Any, Any]) -> tuple[float, float]:
    """When it began, in Unix time, and the seconds that it took."""
    await asyncio.wait_for(handle.result(), LIMIT_S)
    seen = await handle.describe()
    assert seen.close_time is not None
    return seen.start_time.timestamp(), round((seen.close_time - seen.start_time).total_seconds(), 3)


def _input(order: str) -> dict[str, Any]:
    return {"order_id": order, **ORDER}


def _by_cli(ours: Release, order: str) -> None:
    line = [command(Path("unused"), 1, 2)[0], "workflow", "start", "--address", ours.temporal.address]
    line += ["--type", "OrderWorkflow", "--task-queue", "orders", "--workflow-id", f"order-{order}"]
    subprocess.run([*line, "--input", json.dumps(_input(order))], check=True, stdout=subprocess.DEVNULL)


def _by_schedule(ours: Release, order: str) -> None:
    async def create() -> None:
        client = await Client.connect(ours.temporal.address)
        action = ScheduleActionStartWorkflow(
            "OrderWorkflow", _input(order), id=f"order-{order}", task_queue="orders", run_timeout=timedelta(minutes=5)
        )
        await client.create_schedule(order, Schedule(action=action, spec=ScheduleSpec()), trigger_immediately=True)

    asyncio.run(create())


START = {"api": lambda ours, order: ours.place(order), "cli": _by_cli, "schedule": _by_schedule}


def _scale_up(hand: Release) -> float:
    """The Unix time when it was done."""
    for pool in POOLS:
        path = f"{hand.base}/apis/apps/v1/namespaces/{hand.namespace}/deployments/{NAME}-{pool}/scale"
        kind = {"content-type": "application/merge-patch+json"}
        request = urllib.request.Request(path, method="PATCH", data=b'{"spec":{"replicas":1}}', headers=kind)
        with urllib.request.urlopen(request, timeout=15):
            pass
    return time.time()


def proceed(pairs: int, record: Record) -> None:
    """Record what is missing, each starter in turn."""
    with releases() as (ours, hand):
        while missing := [s for s in STARTERS if len(record.lines(starter=s)) < pairs]:
            for starter in missing:
                put_to_sleep(ours, hand)
                with record.trial(starter=starter):
                    result = asyncio.run(measure(ours, hand, starter))
                record.add(result)
                print(result, flush=True)


def summary(record: Record) -> str:
    """The recorded pairs as a table in Markdown."""
    head = ["started by", "pairs", "woken, s: median (min-max)", "by hand, s: median (min-max)"]
    head += ["difference, s: median, 95 %, max", "both pods wanted, s: median, max", "by hand, s"]
    rows = []
    for starter in STARTERS:
        if len(lines := record.lines(starter=starter)) > 1:
            woken, hand = ([line[key] for line in lines] for key in ("woken_s", "by_hand_s"))
            above = [line["woken_s"] - line["by_hand_s"] for line in lines]
            spread = f"{median(above):.2f}, {quantiles(above, n=20, method='inclusive')[-1]:.2f}, {max(above):.2f}"
            both = [f"{median(each):.2f} ({min(each):.2f}-{max(each):.2f})" for each in (woken, hand)]
            keys = ("wanted_s", "by_hand_wanted_s")
            wanted = [
                f"{median(each):.2f}, {max(each):.2f}" for each in ([line[key] for line in lines] for key in keys)
            ]
            rows.append([starter, str(len(lines)), *both, spread, *wanted])
    table = "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])
    return f"{table}\n\n{record.footnote()}"


if __name__ == "__main__":
    about = "Seconds from a workflow's start without a pod to its end."
    main_of("zero", about, "pairs for each way to start", proceed, summary)
