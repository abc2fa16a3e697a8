"""What the demand says on each Temporal server that can be had, and what it says of what a server does not tell.

FLEET_TEST_TEMPORAL=all runs all of them; the table in docs/scaling.md is what this test holds true.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from temporalio.api.workflowservice.v1 import GetSystemInfoRequest, ListWorkersRequest
from temporalio.client import Client

from app.scaling.demand import Demand
from tests.parts.skipping import skip_for_want_of
from tests.parts.temporal import own_server
from tests.parts.temporal_releases import EVERY, RELEASES, ReleaseMissing, wanted

from .work import connect, look, new_queue, of, pod, start, until

# The switches of a server that has heartbeats, but not by default.
SWITCHES = ("frontend.WorkerHeartbeatsEnabled=true", "frontend.ListWorkersEnabled=true")
NO_HEARTBEATS = "ListWorkers: method ListWorkers not supported"


@dataclass(frozen=True)
class Told:
    """What a server tells, apart from backlog, age and rates, which each of them does."""

    switches: tuple[str, ...] = ()
    problem: str = ""
    workers: int = 1
    """Entries of ListWorkers' newer field, which has no slots."""
    rate_limited: bool = False


CASES = [
    ("1.29.1", Told(problem=NO_HEARTBEATS, workers=0)),
    ("1.29.1", Told(switches=SWITCHES, workers=0)),
    ("1.30.1", Told(workers=0)),
    ("1.30.2", Told(workers=0)),
    ("1.31.2", Told()),
    ("1.32.0", Told(rate_limited=True)),
]


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("server", "told"), CASES, ids=[f"{server}{'-switched-on' if told.switches else ''}" for server, told in CASES]
)
def test_demand_on_each_server(server: str, told: Told, tmp_path: Path) -> None:
    release = next(r for r in RELEASES if r.server == server)
    if not wanted(release):
        pytest.skip(f"{EVERY}=all also runs server {server}")
    try:
        program = release.program()
    except ReleaseMissing as error:
        skip_for_want_of(f"Temporal {server}", error)
    with own_server(tmp_path, *told.switches, program=program) as (address, _):
        asyncio.run(_all_of_it(address, server, told))


async def _all_of_it(address: str, server: str, told: Told) -> None:
    client, began = await connect(address), datetime.now(UTC)
    assert (await client.workflow_service.get_system_info(GetSystemInfoRequest())).server_version == server
    await _a_busy_worker(client, address, told)
    await _nobody(client, told, began)
    await _a_rate_limit(client, address, told)


async def _a_busy_worker(client: Client, address: str, told: Told) -> None:
    queue = new_queue()
    async with pod(address, queue, "pod-7", slots=5, disable_eager_activity_execution=True):
        await start(client, queue, "hold", 7)
        held = None if told.problem else 5

        def all_told(d: Demand) -> bool:
            activities = of(d, "activity")
            # The first heartbeat of a worker has no interval yet, and the first dispatch is not counted at once.
            first = activities.dispatch_rate == 0 or (not told.problem and activities.processed_per_s is None)
            return (activities.backlog, activities.used_slots) == (2, held) and not first

        seen = await until(lambda: look(client, queue), all_told)
        activities = of(seen, "activity")
        assert activities.total_slots == held, "what no heartbeat tells is unknown, never 0"
        assert activities.processed_per_s is None or not told.problem
        assert 0 < (activities.backlog_age_s or 0) < 60
        assert (activities.add_rate or 0) > 0
        assert (seen.known, seen.problem) == (("Partial", told.problem) if told.problem else ("Full", ""))
        assert [w.identity for w in seen.running] == ([] if told.problem else ["pod-7"])
        assert not seen.calm
        if not told.problem:
            request = ListWorkersRequest(namespace=client.namespace)
            assert len((await client.workflow_service.list_workers(request)).workers) == told.workers


async def _nobody(client: Client, told: Told, began: datetime) -> None:
    """A queue that nobody polls, and the query that a sleeping queue wakes by."""
    queue = new_queue()
    for _ in range(3):
        await start(client, queue, "quick", 1)
    seen = await until(lambda: look(client, queue), lambda d: of(d, "workflow").backlog == 3)
    assert of(seen, "workflow").used_slots == (None if told.problem else 0)
    since = (began - timedelta(seconds=60)).isoformat()
    query = f"ExecutionTime > '{since}' AND StartTime > '{since}' AND TaskQueue IN ('{queue}', 'another')"
    async with asyncio.timeout(20):
        while len(found := [run.task_queue async for run in client.list_workflows(query)]) < 3:
            await asyncio.sleep(0.1)
    assert found == [queue] * 3


async def _a_rate_limit(client: Client, address: str, told: Told) -> None:
    """An older server has the flag's field, and never sets it."""
    queue = new_queue()
    async with pod(address, queue, max_task_queue_activities_per_second=1, disable_eager_activity_execution=True):
        await start(client, queue, "quick", 12)

        def slowed(d: Demand) -> bool:
            activities = of(d, "activity")
            return activities.rate_limited or (not told.rate_limited and 0 < (activities.backlog or 0) < 6)

        seen = await until(lambda: look(client, queue), slowed)
        assert of(seen, "activity").rate_limited == told.rate_limited
