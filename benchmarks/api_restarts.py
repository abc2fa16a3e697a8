"""How many requests fail while the API is restarted under load? `python -m benchmarks.api_restarts --until 50`

Two processes behind a load balancer that follows /readyz with a lag and retries nothing (tests/api/balancer.py); one
after the other gets SIGTERM at a random moment and is started again. Callers keep connections, make new ones, and wait
for an order to end (tests/api/restarts.py). --kind raw is uvicorn alone, as its documentation starts it, in the same
place. It goes on from what benchmarks/results/api_restarts.jsonl has; --summary prints the table.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from benchmarks.record import Record
from tests.api.restarts import Restart, Seen, restarted
from tests.api.served import OURS, served
from tests.parts.temporal import own_server

UVICORN = (sys.executable, "-m", "uvicorn", "--port", "{port}", "--timeout-graceful-shutdown", "10", "--no-access-log")
KINDS = {"ours": OURS, "raw": (*UVICORN, "app.api.http.app:app")}
DELAY_S = "3"


def recorder(record: Record, kind: str) -> Callable[[Restart, Seen], None]:
    """Adds a line after each restart, with what was seen since the one before."""
    told = Seen()

    def add(restart: Restart, seen: Seen) -> None:
        failures = seen.failures[len(told.failures) :]
        answers = seen.answers - told.answers
        told.failures, told.answers = list(seen.failures), seen.answers.copy()
        line = {"kind": kind, "code": restart.code, "exit_s": restart.seconds, "answers": dict(answers)}
        record.add({**line, "failed": len(failures), "failures": failures[:5]})
        print(f"{kind}: {line['exit_s']} s, {answers.total()} answers, {len(failures)} failed", flush=True)

    return add


def run(record: Record, kind: str, restarts: int, each: int) -> None:
    """Restart under load, `each` callers of each kind."""
    with tempfile.TemporaryDirectory(prefix="fleet-api-") as folder, ExitStack() as stack:
        temporal, _ = stack.enter_context(own_server(Path(folder)))
        ours = {"API__SHUTDOWN_DELAY_S": DELAY_S} if kind == "ours" else {}
        backends = [stack.enter_context(served(Path(folder), temporal, KINDS[kind], **ours)) for _ in range(2)]
        asyncio.run(restarted(temporal, backends, restarts, each, recorder(record, kind)))


def summary(record: Record) -> str:
    """The table of docs/drain.md."""
    rows = ["| | restarts | requests | failed | exit codes | exit, s: median, max |", "|---|---|---|---|---|---|"]
    for kind in KINDS:
        if lines := record.lines(kind=kind):
            requests = sum(sum(line["answers"].values()) + line["failed"] for line in lines)
            codes = ", ".join(f"{n} x {code}" for code, n in Counter(line["code"] for line in lines).items())
            ends = [line["exit_s"] for line in lines]
            rows.append(
                f"| {kind} | {len(lines)} | {requests} | {sum(line['failed'] for line in lines)} | {codes} | "
                f"{statistics.median(ends):.1f}, {max(ends):.1f} |"
            )
    return "\n".join(rows)


def main() -> None:
    """Run what is missing; see the module's text."""
    parser = argparse.ArgumentParser(description="Restart the API under load, and count failed requests.")
    parser.add_argument("--until", type=int, default=4, metavar="N", help="restarts, with those on record")
    parser.add_argument("--kind", choices=list(KINDS), default="ours")
    parser.add_argument("--callers", type=int, default=6, metavar="N", help="of each kind")
    parser.add_argument("--summary", action="store_true", help="print the table of what is on record")
    arguments = parser.parse_args()
    record = Record("api_restarts")
    missing = arguments.until - len(record.lines(kind=arguments.kind))
    if missing > 0 and not arguments.summary:
        run(record, arguments.kind, missing, arguments.callers)
    print(summary(record), flush=True)
    # The SDK's threads may crash a normal exit (app.core.exit).
    os._exit(0)


if __name__ == "__main__":
    main()
