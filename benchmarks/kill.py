"""How soon is the work of a killed worker at work elsewhere? `python -m benchmarks.kill --until 30`

Two workers serve one queue. One of them gets SIGKILL with heartbeating activities at work and with runs in its memory
that wait for a signal, which they get at once. Noted is when each activity starts again, and when each run goes on. The
next worker takes the place of the dead one, and so on. Everything is real: server, processes, signals.

What bounds it: for an activity its heartbeat timeout (HEARTBEAT_S here), for a workflow
temporal.worker.sticky_queue_schedule_to_start_timeout_ms (10 s): until then its task waits for the dead process.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from temporalio.client import Client, WorkflowHandle

from app.core.config import use
from app.core.services.temporal.plugin import fleet_plugins
from benchmarks.record import Record
from tests.apps.faults import Rests, Waits
from tests.faults.evidence import Evidence, Line
from tests.parts.temporal import own_server
from tests.worker.pools import lab_settings
from tests.worker.served import Served

HEARTBEAT_S = 3
STICKY_S = 10
ACTIVITIES = 6
WAITING = 6
REST_S = 6.0
PATIENCE_S = 60.0


class Pair:
    """Two workers; the older one is the next to be killed."""

    def __init__(self, folder: Path, address: str) -> None:
        self._folder = folder
        self._settings = {
            "TEMPORAL__ADDRESS": address,
            "TEMPORAL__WORKER__PACKAGES": '["tests.apps.faults"]',
            "TEMPORAL__ACTIVITIES__HEARTBEAT_TIMEOUT_S": str(HEARTBEAT_S),
        }
        self._made = 0
        self.workers = [self._start(), self._start()]

    def kill(self) -> tuple[int, float]:
        """SIGKILL the older one: its pid, and when it was killed (wall clock)."""
        victim = self.workers.pop(0).process
        victim.send_signal(signal.SIGKILL)
        at = time.time()
        victim.wait()
        return victim.pid, at

    def replace(self) -> None:
        self.workers.append(self._start())

    def close(self) -> None:
        for worker in self.workers:
            worker.process.kill()
            worker.process.wait()

    def _start(self) -> Served:
        self._made += 1
        folder = self._folder / str(self._made)
        folder.mkdir()
        worker = Served(folder, self._settings | {"TEMPORAL__WORKER__IDENTITY": f"w{self._made}"}, "--queue", "faults")
        worker.ready()
        return worker


async def one_kill(client: Client, pair: Pair, evidence: Evidence, number: int) -> dict[str, Any]:
    """Kill a worker that has work; the seconds until each piece is at work again."""
    victim = pair.workers[0].process.pid
    waiting = [await Waits.start_workflow(client, input=None, id=f"wait-{number}-{n}") for n in range(WAITING)]
    owners = [await _owner(handle) for handle in waiting]
    resting = [await Rests.start_workflow(client, input=REST_S, id=f"rest-{number}-{n}") for n in range(ACTIVITIES)]
    begun = [await _start(evidence, handle.id, 0) for handle in resting]
    _, killed_at = await asyncio.to_thread(pair.kill)
    for handle in waiting:
        await handle.signal("call")
    again = [await _start(evidence, line.workflow_id, 1) for line in begun if line.pid == victim]
    # Identities are given in the order of the starts, and the older of two is killed: the n-th kill is of worker n.
    on = [
        await _start(evidence, h.id, 0) for h, owner in zip(waiting, owners, strict=True) if owner == f"w{number + 1}"
    ]
    await asyncio.to_thread(pair.replace)
    async with asyncio.timeout(PATIENCE_S):
        await asyncio.gather(*(run.result() for run in waiting), *(run.result() for run in resting))
    others = [line.workflow_id for line in begun if line.pid != victim]
    return {
        "activities_s": [round(line.at - killed_at, 2) for line in again],
        "workflows_s": [round(line.at - killed_at, 2) for line in on],
        "repeated_elsewhere": sum(len(evidence.lines("start", other)) - 1 for other in others),
    }


async def _owner(handle: WorkflowHandle[Any, Any]) -> str:
    """The identity of the worker that has the run in memory."""
    while True:
        async for event in handle.fetch_history_events():
            if event.HasField("workflow_task_completed_event_attributes"):
                return event.workflow_task_completed_event_attributes.identity
        await asyncio.sleep(0.05)


async def _start(evidence: Evidence, workflow_id: str, index: int) -> Line:
    async with asyncio.timeout(PATIENCE_S):
        while len(lines := evidence.lines("start", workflow_id)) <= index:  # noqa: ASYNC110 - a file has no event
            await asyncio.sleep(0.05)
    return lines[index]


def _spread(name: str, bound_s: float, seconds: Sequence[float]) -> str:
    if not seconds:
        return f"| {name} | 0 | - | - | - | {bound_s:g} s |"
    last = statistics.quantiles(seconds, n=20, method="inclusive")[-1] if len(seconds) > 1 else seconds[0]
    return (
        f"| {name} | {len(seconds)} | {statistics.median(seconds):.1f} s | {last:.1f} s | {max(seconds):.1f} s "
        f"| {bound_s:g} s |"
    )


def summary(record: Record) -> str:
    """The table of docs/drain.md."""
    lines = record.lines()
    kills = f"{len(lines)} kills; {sum(line['repeated_elsewhere'] for line in lines)} bodies of other workers repeated"
    return "\n".join(
        [
            "| at work elsewhere after SIGKILL | n | median | 95 % | longest | promised |",
            "|---|---|---|---|---|---|",
            _spread("activities", HEARTBEAT_S + 2, [s for line in lines for s in line["activities_s"]]),
            _spread("workflows", STICKY_S + 1, [s for line in lines for s in line["workflows_s"]]),
            "",
            kills,
        ]
    )


async def run(address: str, folder: Path, record: Record, until: int) -> None:
    evidence = Evidence(folder / "evidence")
    os.environ["FAULTS_EVIDENCE"] = str(evidence.file)
    client = await Client.connect(address, plugins=fleet_plugins())
    pair = await asyncio.to_thread(Pair, folder, address)
    try:
        number = 0
        while len(record.lines()) < until:
            result = await one_kill(client, pair, evidence, number)
            record.add({"kill": len(record.lines()) + 1, **result})
            print(result, flush=True)
            number += 1
    finally:
        pair.close()


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description="Kill workers, and see when their work is at work elsewhere.")
    parser.add_argument("--until", type=int, default=30, help="kills on record when it ends")
    parser.add_argument("--summary", action="store_true", help="print what is on record, and do nothing")
    arguments = parser.parse_args()
    record = Record("kill")
    if not arguments.summary:
        folder = Path(tempfile.mkdtemp(prefix="fleet-kill-"))
        (folder / "temporal").mkdir()
        with own_server(folder / "temporal") as (address, _):
            use(lab_settings(address, activities={"start_to_close_timeout_s": 60, "heartbeat_timeout_s": HEARTBEAT_S}))
            asyncio.run(run(address, folder, record, arguments.until))
    print(summary(record))
    sys.stdout.flush()
    # The SDK's threads may crash a normal exit (app.core.exit).
    os._exit(0)


if __name__ == "__main__":
    main()
