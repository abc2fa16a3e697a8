"""Releasing by token: what a body had reached is kept, and an answer that comes second does no harm."""

from __future__ import annotations

import asyncio
import signal
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from app.worker.in_flight import InFlight
from app.worker.release import Release
from tests.apps.leaving import evidence
from tests.apps.leaving.activities import Job
from tests.apps.leaving.workflows import Leaves
from tests.local.dev_fleet import until
from tests.worker.leaving import LEAVING
from tests.worker.pools import lab_settings, running_manager
from tests.worker.served import Served, result, start


def test_a_stuck_body_goes_on_elsewhere_from_its_last_checkpoint(
    serve: Callable[..., Served], temporal_address: str, ran: Path
) -> None:
    leaving = serve("--drain-timeout", "0.5", TEMPORAL__WORKER__UNWIND_TIMEOUT_S="0.5", **LEAVING)
    leaving.ready()
    # Of three heartbeats in a row the SDK sends the first, and the next 48 s later.
    workflow_id = start(temporal_address, Leaves, Job(body="reaches_and_blocks", seconds=60, heartbeat_s=60))
    until(lambda: evidence.lines(ran, "reached", workflow_id), 15)
    leaving.signal(signal.SIGTERM)
    assert leaving.wait(20) == 3
    serve(**LEAVING).ready()
    assert result(temporal_address, workflow_id) == 3


def test_an_answer_that_comes_second_does_no_harm_and_local_activities_are_left_alone(
    temporal_address: str, ran: Path
) -> None:
    settings = lab_settings(temporal_address, worker={"packages": ["tests.apps.leaving"]})

    async def body() -> None:
        async with running_manager(settings, "leaving") as running:
            job = Job(body="sleeps", seconds=0.5)
            handle = await Leaves.start_workflow(running.client, input=job, id=uuid.uuid4().hex)
            while not (in_hand := dict(running.manager.state.in_flight.in_hand())):
                await asyncio.sleep(0.02)
            assert await handle.result() == "slept"
        [(token, of_temporal)] = in_hand.items()
        late = InFlight(running={token: of_temporal, b"local": replace(of_temporal, is_local=True)})
        begin = time.monotonic()
        await Release(settings.temporal, late).at(begin + 0.2, 20.0)
        assert time.monotonic() - begin < 15, "a refusal ends it"
        assert late.released == {token}
        assert late.drained().abandoned == 1

    asyncio.run(body())
