"""What does an outage of Temporal cost? `python -m benchmarks.outage --until 1`, `--summary` for the table.

Activities are at work when Temporal goes for a minute, and end while it is away: their results must wait. In turn the
server is stopped and started on the same database, frozen (SIGSTOP), or cut off (connections reset, new ones refused);
each with and without a SIGTERM to the worker inside the outage; and each with our worker and with the raw SDK's, whose
client, activities and shutdown timeout are the same. A body that starts twice was repeated. One round is twelve trials
of about two minutes; it goes on from what the results have.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from temporalio.client import Client
from temporalio.worker import Worker

from app.core.config import use
from app.core.services.temporal.plugin import fleet_plugins
from benchmarks.record import Record
from tests.apps.leaving import activities, evidence
from tests.apps.leaving.activities import Job
from tests.apps.leaving.workflows import Leaves
from tests.local.dev_fleet import until
from tests.parts.relay import relay
from tests.parts.temporal import freeze, own_server, ready, start_server, stop_server
from tests.worker.pools import lab_settings
from tests.worker.served import Served, client

BODIES = 8
BODY_S = 3.0
SIGTERM_AFTER_S = 1.0
DRAIN_S = 150.0
FAULTS = ("stopped", "frozen", "cut")
WORKERS = ("fleet", "raw")


class RawWorker:
    """A process with a plain SDK worker, that shuts down at SIGTERM and then ends as Python does."""

    def __init__(self, folder: Path, address: str) -> None:
        with (folder / "worker.log").open("wb") as log:
            command = [sys.executable, "-m", "benchmarks.outage", "--raw-worker", address]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)


async def _raw_worker(address: str) -> None:
    use(lab_settings(address))
    worker = Worker(
        await Client.connect(address, plugins=fleet_plugins()),
        task_queue="leaving",
        workflows=[Leaves],
        activities=[activities.sleeps],
        graceful_shutdown_timeout=timedelta(seconds=DRAIN_S),
    )
    asyncio.get_running_loop().add_signal_handler(
        signal.SIGTERM, lambda: _kept.append(asyncio.ensure_future(worker.shutdown()))
    )
    await worker.run()


_kept: list[Any] = []


def trial(worker: str, fault: str, sigterm: bool, outage_s: float) -> dict[str, Any]:
    """One outage; how many bodies ran, how soon after it their results were there, and how the worker ended."""
    with tempfile.TemporaryDirectory(prefix="fleet-outage-") as name:
        folder = Path(name)
        ran = folder / "ran"
        os.environ[evidence.VARIABLE] = str(ran)
        (folder / "server").mkdir()
        with own_server(folder / "server") as (address, server), relay(address) as link:
            leaving = _start(worker, folder / "leaving", link.address)
            ids = [f"outage-{uuid.uuid4()}" for _ in range(BODIES)]
            job = Job(body="sleeps", seconds=BODY_S, close_s=outage_s + 30)
            with client(address) as call:
                call(lambda c: asyncio.gather(*(Leaves.start_workflow(c, input=job, id=id_) for id_ in ids)))
            until(lambda: len(evidence.lines(ran, "start")) == BODIES, 60)
            others = []
            with _FAULTS[fault](folder / "server", address, server, link) as away:
                time.sleep(SIGTERM_AFTER_S)
                if sigterm:
                    leaving.send_signal(signal.SIGTERM)
                time.sleep(max(0.0, outage_s - SIGTERM_AFTER_S))
            back = time.monotonic()
            if sigterm:
                others.append(_start(worker, folder / "other", address))
            with client(address) as call:
                call(lambda c: asyncio.gather(*(c.get_workflow_handle(id_).result() for id_ in ids)))
            done_s = time.monotonic() - back
            for process in (leaving, *others):
                if process.poll() is None:
                    process.send_signal(signal.SIGTERM)
            codes = [process.wait(DRAIN_S + 60) for process in (leaving, *others)]
            for again in away:
                stop_server(again)
        starts = evidence.lines(ran, "start")
        return {
            "worker": worker,
            "fault": fault,
            "sigterm": sigterm,
            "outage_s": outage_s,
            "bodies": BODIES,
            "repeated": len(starts) - BODIES,
            "done_s": round(done_s, 1),
            "exit_code": codes[0],
            "account": _account(folder / "leaving" / "worker.log"),
        }


def _account(log: Path) -> str:
    found = re.search(r"drain: done in (.*)", log.read_text())
    return found[1] if found else ""


def _start(worker: str, folder: Path, address: str) -> subprocess.Popen[bytes]:
    folder.mkdir()
    if worker == "raw":
        return RawWorker(folder, address).process
    settings = {"TEMPORAL__ADDRESS": address, "TEMPORAL__WORKER__PACKAGES": '["tests.apps.leaving"]'}
    served = Served(folder, settings, "--drain-timeout", str(DRAIN_S))
    served.ready()
    return served.process


Servers = list[subprocess.Popen[bytes]]


@contextmanager
def _stopped(folder: Path, address: str, server: subprocess.Popen[bytes], _: Any) -> Iterator[Servers]:
    stop_server(server)
    again: Servers = []
    yield again
    again.append(start_server(folder, int(address.rpartition(":")[2])))
    asyncio.run(ready(address, again[0], folder / "log"))


@contextmanager
def _frozen(_folder: Path, _address: str, server: subprocess.Popen[bytes], _: Any) -> Iterator[Servers]:
    freeze(server)
    yield []
    server.send_signal(signal.SIGCONT)


@contextmanager
def _cut(_folder: Path, _address: str, _server: subprocess.Popen[bytes], link: Any) -> Iterator[Servers]:
    with link.refusing():
        yield []


_FAULTS: dict[str, Callable[..., Any]] = {"stopped": _stopped, "frozen": _frozen, "cut": _cut}


def run(rounds: int, outage_s: float) -> None:
    """Trials until the results have `rounds` of each kind."""
    record = Record("outage")
    for fault in FAULTS:
        for sigterm in (False, True):
            for worker in WORKERS:
                kind = {"worker": worker, "fault": fault, "sigterm": sigterm, "outage_s": outage_s}
                while len(record.lines(**kind)) < rounds:
                    with record.trial(**kind):
                        result = trial(worker, fault, sigterm, outage_s)
                    record.add(result)
                    print(result, flush=True)


def summary() -> str:
    """The table of the docs."""
    rows = ["| Temporal is | SIGTERM inside | worker | trials | bodies | repeated | exit codes | told, s after |"]
    rows.append("|---|---|---|---|---|---|---|---|")
    for fault in FAULTS:
        for sigterm in (False, True):
            for worker in WORKERS:
                lines = Record("outage").lines(worker=worker, fault=fault, sigterm=sigterm)
                if not lines:
                    continue
                times = sorted(line["done_s"] for line in lines)
                bodies, repeated = (sum(line[key] for line in lines) for key in ("bodies", "repeated"))
                spread = f"{times[0]:g} to {times[-1]:g}"
                inside = "yes" if sigterm else "no"
                codes = ", ".join(f"{n} x {code}" for code, n in Counter(line["exit_code"] for line in lines).items())
                cells = (fault, inside, worker, len(lines), bodies, repeated, codes, spread)
                rows.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join([*rows, "", Record("outage").footnote()])


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description="What an outage of Temporal costs.")
    parser.add_argument("--until", type=int, default=1, help="rounds that the results then have")
    parser.add_argument("--outage-s", type=float, default=60.0)
    parser.add_argument("--summary", action="store_true", help="print the table of the results so far")
    parser.add_argument("--one", nargs=3, metavar=("WORKER", "FAULT", "SIGTERM"), help="one trial, not recorded")
    parser.add_argument("--raw-worker", metavar="ADDRESS", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.raw_worker:
        asyncio.run(_raw_worker(arguments.raw_worker))
        return
    if arguments.one:
        worker, fault, sigterm = arguments.one
        print(trial(worker, fault, sigterm == "yes", arguments.outage_s), flush=True)
    else:
        if not arguments.summary:
            run(arguments.until, arguments.outage_s)
        print(summary(), flush=True)
    os._exit(0)  # the SDK's threads may crash a normal exit (app.core.exit)


if __name__ == "__main__":
    main()
