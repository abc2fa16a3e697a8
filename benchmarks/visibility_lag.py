"""How soon does a query show a workflow that was started? `python -m benchmarks.visibility_lag`, `--summary`.

No worker anywhere. Starts one after the other (`--rate 0`) or at a fixed rate, while one visibility query after the
other asks for the runs of the last seconds. Lag: from the answer to the start until the answer that lists the run
first; it includes one query and up to 20 ms until it is sent. Behind: how much older than the newest start already
listed a run is when it appears; a query for what is newer than the newest must look that far back. `--address` names a
server, whose frontend.namespaceRPS.visibility must allow it; without it, a dev server.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
import uuid
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from temporalio.api.workflowservice.v1 import ListWorkflowExecutionsRequest
from temporalio.client import Client

from benchmarks.record import Record
from tests.parts.temporal import own_server

QUEUES = 7
WINDOW_S = 5
PAUSE_S = 0.02  # between two queries, which cost the server what the starts need
GIVE_UP_S = 30.0
# The default of 10 a second in a namespace would hide the lag behind its own pace.
UNLIMITED = "frontend.namespaceRPS.visibility=100000"


class Watch:
    """What the query has listed so far."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.first_ns = time.time_ns()
        self.newest_ns = self.first_ns
        self.seen: dict[str, float] = {}
        self.behind_ms: list[float] = []
        self.query_ms: list[float] = []

    async def run(self) -> None:
        """One query after the other, for ever."""
        while True:
            since_ns = max(self.first_ns, self.newest_ns - WINDOW_S * 10**9)
            since = _text(since_ns)
            query = f"ExecutionTime > '{since}' AND StartTime > '{since}'"
            request = ListWorkflowExecutionsRequest(namespace=self.client.namespace, page_size=1000, query=query)
            began, newest = time.perf_counter(), self.newest_ns
            while True:
                page = await self.client.workflow_service.list_workflow_executions(request)
                at = time.perf_counter()
                self.query_ms.append((at - began) * 1000)
                for info in page.executions:
                    started_ns = info.start_time.ToNanoseconds()
                    if info.execution.run_id not in self.seen:
                        self.seen[info.execution.run_id] = at
                        self.behind_ms.append((self.newest_ns - started_ns) / 10**6)
                        newest = max(newest, started_ns)
                if not page.next_page_token:
                    break
                request.next_page_token, began = page.next_page_token, at
            self.newest_ns = newest
            await asyncio.sleep(PAUSE_S)


async def trial(address: str, starts: int, rate: float) -> dict[str, Any]:
    """`starts` workflows, `rate` a second (0: each waits until the one before is listed)."""
    client = await Client.connect(address)
    watch = Watch(client)
    watching = asyncio.create_task(watch.run())
    answered: dict[str, float] = {}

    async def start(number: int) -> str:
        handle = await client.start_workflow("Absent", id=f"lag-{uuid.uuid4()}", task_queue=f"lag-{number % QUEUES}")
        run_id = handle.result_run_id or ""
        answered[run_id] = time.perf_counter()
        return run_id

    begin = time.perf_counter()
    if rate:
        tasks = []
        for number in range(starts):
            await asyncio.sleep(max(0.0, begin + number / rate - time.perf_counter()))
            tasks.append(asyncio.create_task(start(number)))
        await asyncio.gather(*tasks)
    else:
        for number in range(starts):
            run_id = await start(number)
            await _until({run_id}, watch, watching)
    started_s = time.perf_counter() - begin
    await _until(set(answered), watch, watching)
    watching.cancel()
    lags = [(watch.seen[run] - at) * 1000 for run, at in answered.items() if run in watch.seen]
    return {
        "starts": starts,
        "rate": rate,
        "starts_per_s": round(starts / started_s, 1),
        "never_listed": len(answered.keys() - watch.seen.keys()),
        "lag_ms": _spread(lags),
        "before_the_answer": sum(lag < 0 for lag in lags),
        "behind_ms": _spread(watch.behind_ms),
        "query_ms": _spread(watch.query_ms),
    }


async def _until(runs: set[str], watch: Watch, watching: asyncio.Task[None]) -> None:
    """Until all `runs` are listed, at most GIVE_UP_S. Raises what ended the watch: a server's limit, say."""
    deadline = time.perf_counter() + GIVE_UP_S
    for _ in iter(lambda: runs <= watch.seen.keys(), True):
        if watching.done():
            watching.result()
        if time.perf_counter() > deadline:
            return
        await asyncio.sleep(0.001)


def _text(ns: int) -> str:
    return f"{datetime.fromtimestamp(ns // 10**9, UTC):%Y-%m-%dT%H:%M:%S}.{ns % 10**9:09d}Z"


def _spread(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    at = {"min": 0.0, "p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
    found = {name: round(ordered[round(share * (len(ordered) - 1))], 1) for name, share in at.items()}
    return {"n": len(ordered), **found}


def summary(record: Record) -> str:
    """The table for the docs."""
    rows = [
        "| store | starts | lag ms p50 / p99 / max | behind ms p99 / max | one query ms p50 | n | load average |",
        "|---|---|---|---|---|---|---|",
    ]
    for line in record.lines():
        lag, behind = line["lag_ms"], line["behind_ms"]
        pace = f"{line['starts_per_s']:g}/s" if line["rate"] else "one by one"
        rows.append(
            f"| {line['store']} | {pace} | {lag['p50']:g} / {lag['p99']:g} / {lag['max']:g} | {behind['p99']:g} / "
            f"{behind['max']:g} | {line['query_ms']['p50']:g} | {lag['n']} | {line['load_average']:g} |"
        )
    lost = Counter(line["store"] for line in record.lines() if line["never_listed"])
    return "\n".join([*rows, f"Runs never listed: {dict(lost) or 0}", record.footnote()])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--summary", action="store_true")
    parser.add_argument("--address", default="", help="host:port of a server, rather than a dev server")
    parser.add_argument("--store", default="SQLite, dev server 1.32.0", help="what the record calls it")
    parser.add_argument("--starts", type=int, default=300)
    parser.add_argument("--rate", type=float, default=0.0, help="starts a second")
    options = parser.parse_args()
    record = Record("visibility_lag")
    if not options.summary:
        kind = {"store": options.store, "rate": options.rate}
        with record.trial(**kind), tempfile.TemporaryDirectory(prefix="fleet-lag-") as folder:
            if options.address:
                result = asyncio.run(trial(options.address, options.starts, options.rate))
            else:
                with own_server(Path(folder), UNLIMITED) as (address, _):
                    result = asyncio.run(trial(address, options.starts, options.rate))
        record.add({**kind, **result})
    print(summary(record))


if __name__ == "__main__":
    main()
