"""How soon does a stuck body run again elsewhere? `python -m benchmarks.stuck --until 100`, `--summary` for the table.

One activity at a time is stuck on a worker (in turn: the event loop blocked, the cancel swallowed, one blocking call of
C in a thread), a second worker is ready, the first gets SIGTERM. Measured is the time from the drain's deadline, which
is SIGTERM + drain + unwind, to the line that attempt 2 writes when it starts; and that the first process was gone by
then. Everything is real: server, processes, signals. It goes on from what the results have.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

from benchmarks.record import Record
from tests.apps.leaving import evidence
from tests.apps.leaving.activities import Job
from tests.apps.leaving.workflows import Leaves
from tests.local.dev_fleet import until
from tests.parts.temporal import own_server
from tests.worker.served import Served, client

DRAIN_S = 2.0
UNWIND_S = 1.0
BODIES = ("blocks_the_loop", "swallows_the_cancel", "blocks_in_c")
PROMISE_S = 2.0


class Workers:
    """Each worker serves alone, sees its successor come, and leaves."""

    def __init__(self, folder: Path, address: str) -> None:
        self._folder = folder
        self._address = address
        self._made = 0
        self.current = self._next()

    def replace(self) -> tuple[Served, Served]:
        """The one that serves, and its successor, which is ready."""
        leaving, self.current = self.current, self._next()
        return leaving, self.current

    def close(self) -> None:
        self.current.signal(signal.SIGTERM)
        self.current.wait(30)

    def _next(self) -> Served:
        self._made += 1
        folder = self._folder / str(self._made)
        folder.mkdir()
        settings = {
            "TEMPORAL__ADDRESS": self._address,
            "TEMPORAL__WORKER__PACKAGES": '["tests.apps.leaving"]',
            "TEMPORAL__WORKER__IDENTITY": f"worker-{self._made}",
            "TEMPORAL__WORKER__UNWIND_TIMEOUT_S": str(UNWIND_S),
        }
        served = Served(folder, settings, "--drain-timeout", str(DRAIN_S))
        served.ready()
        return served


def trial(workers: Workers, address: str, ran: Path, body: str) -> dict[str, Any]:
    """One stuck body: how long after the deadline it runs elsewhere, and what its first worker made of it."""
    workflow_id = f"stuck-{uuid.uuid4()}"
    with client(address) as call:
        call(lambda c: Leaves.start_workflow(c, input=Job(body=body, seconds=60), id=workflow_id))
    until(lambda: evidence.lines(ran, "start", workflow_id), 30)
    leaving, other = workers.replace()
    deadline = time.time() + DRAIN_S + UNWIND_S
    leaving.signal(signal.SIGTERM)
    code = leaving.wait(60)
    gone = time.time()
    again = until(lambda: evidence.lines(ran, "end", workflow_id), 180, 0.02)
    starts = evidence.lines(ran, "start", workflow_id)
    return {
        "body": body,
        "exit_code": code,
        "attempts": [start["attempt"] for start in starts],
        "elsewhere": again[0]["pid"] == other.process.pid,
        "again_s": round(starts[-1]["at"] - deadline, 3),
        "gone_s": round(gone - deadline, 3),
        "account": leaving.text().rpartition("drain: done in ")[2].strip(),
    }


def run(until_n: int) -> None:
    """Trials until the results have `until_n`."""
    record = Record("stuck")
    with tempfile.TemporaryDirectory(prefix="fleet-stuck-") as name:
        folder = Path(name)
        ran = folder / "ran"
        os.environ[evidence.VARIABLE] = str(ran)
        (folder / "server").mkdir()
        with own_server(folder / "server") as (address, _):
            workers = Workers(folder, address)
            while (n := len(record.lines())) < until_n:
                body = BODIES[n % len(BODIES)]
                with record.trial(body=body):
                    result = trial(workers, address, ran, body)
                record.add(result)
                print(n + 1, result, flush=True)
            workers.close()


def summary() -> str:
    """The table of the docs."""
    rows = ["| body | n | again elsewhere, s after the deadline: min / median / max | within 2 s | overlaps |"]
    rows.append("|---|---|---|---|---|")
    for body in BODIES:
        lines = Record("stuck").lines(body=body)
        if not lines:
            continue
        delays = [line["again_s"] for line in lines]
        kept = sum(line["elsewhere"] and line["attempts"] == [1, 2] and line["again_s"] <= PROMISE_S for line in lines)
        overlaps = sum(line["gone_s"] > line["again_s"] for line in lines)
        spread = f"{min(delays):.2f} / {statistics.median(delays):.2f} / {max(delays):.2f}"
        rows.append(f"| {body} | {len(lines)} | {spread} | {kept} of {len(lines)} | {overlaps} |")
    return "\n".join([*rows, "", Record("stuck").footnote()])


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description="How soon a stuck body runs again elsewhere.")
    parser.add_argument("--until", type=int, default=3, help="trials that the results then have")
    parser.add_argument("--summary", action="store_true", help="print the table of the results so far")
    arguments = parser.parse_args()
    if not arguments.summary:
        run(arguments.until)
    print(summary(), flush=True)
    os._exit(0)  # the SDK's threads may crash a normal exit (app.core.exit)


if __name__ == "__main__":
    main()
