"""What do rolling replacements of workers lose? `python -m benchmarks.drain --until 500`

Some workers share a queue of short activities, in workflows that are dense with them. One after the other is replaced:
the next one works, then the old one gets SIGTERM with work in hand, and leaves while others are replaced. Bodies append
a line when they start and when they end; afterwards the lines are held against Temporal's histories:

- orphaned: an attempt that the server started and no body saw; it comes back after its start-to-close timeout. For
  workflow tasks, a WorkflowTaskTimedOut (start-to-close) in a history.
- repeated: a body that ran more than once.

Four variants: the fleet's worker and the SDK's with its defaults (benchmarks/drained/raw.py), each on a server with
`frontend.enableCancelWorkerPollsOnShutdown` off and on. A chunk is some drains of one variant on a server of its own,
and one line of results/drain.jsonl; the variants take turns, and a run goes on from what is there. `--until` counts the
fleet's drains of each flag; the SDK gets a fifth. A chunk of the fleet's that ran at less than LEAST_PER_S, because the
machine was busy with something else, is kept and told, and made again. `--summary` prints the table.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import statistics
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from temporalio.client import Client

from app.core.services.temporal.plugin import fleet_plugins
from benchmarks.drained.body import TASK_QUEUE, Load
from benchmarks.drained.evidence import Bodies, verdict
from benchmarks.drained.workers import Left, Starter, server
from benchmarks.record import Record
from tests.parts.temporal import ready

SIDES = ("fleet", "raw")
FLAGS = ("off", "on")
RAW_SHARE = 0.2
LEAST_PER_S = 60.0
LOAD = Load(activities=80, lanes=4)
IN_HAND_LIMIT_S = 20.0
COLUMNS = (
    "worker",
    "flag",
    "drains",
    "activities",
    "per s",
    "in hand at SIGTERM",
    "orphaned activities",
    "orphaned workflow tasks",
    "sticky tasks left",
    "repeated bodies",
    "exit codes",
    "seconds to exit: median, p95, max",
)


class Roll:
    """The workers of one chunk, and those that leave."""

    def __init__(self, starter: Starter, bodies: Bodies, workers: int, pace_s: float) -> None:
        self._starter = starter
        self._bodies = bodies
        self._pace_s = pace_s
        self._leaving = ThreadPoolExecutor(64)
        self._ends: list[Future[Left]] = []
        self._live = [starter.start() for _ in range(workers)]
        self.in_hand: list[int] = []
        """Of each drain: bodies at work in the process when it got SIGTERM."""

    def drain_one(self) -> None:
        """Replace the oldest worker."""
        begin = time.monotonic()
        self._live.append(self._starter.start())
        self._wait(lambda: self._live[-1].pid in self._bodies.seen)
        old = self._live.pop(0)
        time.sleep(random.uniform(0, 0.1))
        self._wait(lambda: self._bodies.at_work[old.pid] > 0)
        old.terminate()
        self.in_hand.append(self._bodies.at_work[old.pid])
        self._ends.append(self._leaving.submit(old.left))
        time.sleep(max(0.0, begin + self._pace_s - time.monotonic()))

    def ended(self) -> list[Left]:
        """How those that were drained have left; the others go on."""
        return [end.result() for end in self._ends]

    def close(self) -> None:
        for worker in self._live:
            worker.terminate()
        for worker in self._live:
            worker.left()

    def _wait(self, true: Callable[[], bool]) -> None:
        deadline = time.monotonic() + IN_HAND_LIMIT_S
        self._bodies.look()
        while not true():
            if time.monotonic() > deadline:
                raise RuntimeError("a worker had nothing to do: more callers are needed")
            time.sleep(0.005)
            self._bodies.look()


async def chunk(side: str, flag: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Some drains of one variant."""
    folder = Path(tempfile.mkdtemp(prefix="fleet-drain-"))
    with server(folder, flag) as (address, process):
        await ready(address, process, folder / "temporal.log")
        client = await Client.connect(address, plugins=fleet_plugins())
        bodies = Bodies(folder / "evidence")
        stop, ids = asyncio.Event(), list[str]()

        async def call() -> None:
            while not stop.is_set():
                ids.append(f"drain-{uuid.uuid4()}")
                await client.execute_workflow("Dense", LOAD, id=ids[-1], task_queue=TASK_QUEUE)

        callers = [asyncio.create_task(call()) for _ in range(arguments.callers)]
        starter = Starter(side, folder, address)
        roll = await asyncio.to_thread(Roll, starter, bodies, arguments.workers, arguments.pace)
        load: list[float] = []
        begin, before = time.monotonic(), len(bodies.started)
        for _ in range(arguments.chunk):
            await asyncio.to_thread(roll.drain_one)
            load.append(os.getloadavg()[0])
        seconds, done = time.monotonic() - begin, len(bodies.started) - before
        left = await asyncio.to_thread(roll.ended)
        stop.set()
        await asyncio.gather(*callers)
        found = await verdict(client, ids, bodies)
        await asyncio.to_thread(roll.close)
    return {
        "side": side,
        "poll_cancel": flag,
        "pace_s": arguments.pace,
        "drains": len(left),
        "per_s": round(done / seconds, 1),
        **found,
        "in_hand": sorted(roll.in_hand),
        "exit_codes": dict(Counter(str(one.code) for one in left)),
        "exit_s": sorted(round(one.seconds, 2) for one in left),
        "load_1m": round(statistics.median(load), 1),
    }


def counted(record: Record, side: str, flag: str) -> list[dict[str, Any]]:
    """The chunks of a variant; of the fleet's those under the load that the promise is about."""
    lines = record.lines(side=side, poll_cancel=flag)
    return [line for line in lines if side == "raw" or line["per_s"] >= LEAST_PER_S]


def next_variant(record: Record, until: int) -> tuple[str, str] | None:
    """The variant that lags behind most, None when all are done."""
    shares = {}
    for side in SIDES:
        wanted = until if side == "fleet" else max(1, round(until * RAW_SHARE))
        for flag in FLAGS:
            shares[side, flag] = sum(line["drains"] for line in counted(record, side, flag)) / wanted
    side, flag = min(shares, key=lambda variant: shares[variant])
    return None if shares[side, flag] >= 1 else (side, flag)


def summary(record: Record) -> str:
    """The table of the docs: a row a variant."""
    variants = [(side, flag, counted(record, side, flag)) for side in SIDES for flag in FLAGS]
    rows = [_row(*variant) for variant in variants if variant[2]]
    table = "\n".join([f"| {' | '.join(COLUMNS)} |", "|" + " --- |" * len(COLUMNS), *rows])
    slow = [line for line in record.lines(side="fleet") if line["per_s"] < LEAST_PER_S]
    harm = ("orphaned_activities", "orphaned_workflow_tasks", "repeated_bodies", "sticky_waits")
    told = [
        f"{line['drains']} at {line['per_s']}/s with {sum(line[key] for key in harm)} lost, repeated or late"
        for line in slow
    ]
    return f"{table}\n\nNot counted, below {LEAST_PER_S:g}/s: {'; '.join(told) or 'none'}"


def _row(side: str, flag: str, lines: list[dict[str, Any]]) -> str:
    def total(key: str) -> int:
        return sum(line[key] for line in lines)

    in_hand = sorted(number for line in lines for number in line["in_hand"])
    exit_s = sorted(seconds for line in lines for seconds in line["exit_s"])
    codes = sum((Counter(line["exit_codes"]) for line in lines), Counter[str]())
    cells = (
        "ours" if side == "fleet" else "SDK's defaults",
        flag,
        total("drains"),
        f"{total('activities'):,}",
        f"{min(line['per_s'] for line in lines):g} to {max(line['per_s'] for line in lines):g}",
        f"{in_hand[0]} to {in_hand[-1]}, median {statistics.median(in_hand):g}",
        total("orphaned_activities"),
        total("orphaned_workflow_tasks"),
        total("sticky_waits"),
        total("repeated_bodies"),
        ", ".join(f"{code}: {count}" for code, count in codes.most_common()),
        f"{statistics.median(exit_s):.1f}, {exit_s[int(0.95 * (len(exit_s) - 1))]:.1f}, {exit_s[-1]:.1f}",
    )
    return f"| {' | '.join(map(str, cells))} |"


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description="Count what rolling replacements of workers lose.")
    parser.add_argument("--until", type=int, default=500, help="drains of our worker with each flag")
    parser.add_argument("--chunk", type=int, default=50, help="drains of one line")
    parser.add_argument("--workers", type=int, default=4, help="at work at any time; those that leave come on top")
    parser.add_argument("--callers", type=int, default=9, help="workflows that run side by side")
    parser.add_argument("--pace", type=float, default=2.0, help="seconds from one replacement to the next, at least")
    parser.add_argument("--results", default="drain", help="name of the file of results")
    parser.add_argument("--summary", action="store_true", help="print the table of what is there")
    arguments = parser.parse_args()
    record = Record(arguments.results)
    while not arguments.summary and (variant := next_variant(record, arguments.until)):
        with record.trial(side=variant[0], poll_cancel=variant[1]):
            result = asyncio.run(chunk(*variant, arguments))
        record.add(result)
        print(record.lines()[-1], flush=True)
    print(summary(record), record.footnote(), sep="\n\n", flush=True)
    # The SDK's threads may crash a normal exit (app.core.exit).
    os._exit(0)


if __name__ == "__main__":
    main()
