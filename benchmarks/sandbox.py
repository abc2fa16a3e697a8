"""What does the workflow sandbox cost? `python -m benchmarks.sandbox --pairs 10`

The example's OrderWorkflow in a fleet worker against the same workflow written with the raw SDK in its default sandbox
(benchmarks/raw_orders), and in one whose restrictions pass its activities through. Measured for each: CPU time to build
one instance; CPU time of the worker process for one order (a workflow with three activities on two queues); memory of
one run that waits in the cache. Every variant of a pair is a worker process of its own, one after the other in an order
that turns from pair to pair; orders are started from this process, so that a client's work is in no figure. Prints one
JSON line a variant and pair, then one with medians and spreads; ratios are of the two variants of one pair.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, cast

from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from app.core.ports import free_port
from app.local import server
from app.worker.activities.models import Item, OrderInput, PaymentDetails
from benchmarks.raw_orders.activities import HOLD
from benchmarks.sandbox_worker import VARIANTS

HOST = "127.0.0.1"
AT_A_TIME = 10
WARM_UP = 10
FIGURES = ("build_ms", "cpu_ms_per_order", "kib_per_cached_run")


class MeasuredWorker:
    """A worker process of one variant."""

    def __init__(self, variant: str, address: str, builds: int, log: IO[bytes]) -> None:
        command = [sys.executable, "-m", "benchmarks.sandbox_worker", variant, address, str(builds)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True
        )
        self.build_ms = float(self._answer()["build_ms"])

    def ask(self, line: str = "sample") -> dict[str, float]:
        """CPU seconds, memory in KiB and orders that wait."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _answer(self) -> dict[str, float]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the worker ended; its log is in the folder that was printed first")
        return cast("dict[str, float]", json.loads(line))


async def measure(client: Client, variant: str, worker: MeasuredWorker, orders: int, cached: int) -> dict[str, Any]:
    """The three figures of one variant."""
    queue = "orders" if variant == "fleet" else "raw-orders"
    # One at a time: what these leave behind must not be what the waiting ones then live in.
    await _place(client, queue, WARM_UP, at_a_time=1)
    empty = worker.ask()
    waiting = [await _start(client, queue, HOLD) for _ in range(cached)]
    full = worker.ask()
    while full["held"] < cached:
        await asyncio.sleep(0.1)
        full = worker.ask()
    worker.ask("release")
    await asyncio.gather(*(handle.result() for handle in waiting))
    before = worker.ask()
    await _place(client, queue, orders)
    after = worker.ask()
    return {
        "variant": variant,
        "build_ms": worker.build_ms,
        "cpu_ms_per_order": round((after["cpu_s"] - before["cpu_s"]) / orders * 1000, 2),
        "kib_per_cached_run": round((full["rss_kib"] - empty["rss_kib"]) / cached, 1),
    }


async def _place(client: Client, queue: str, number: int, at_a_time: int = AT_A_TIME) -> None:
    turns = asyncio.Semaphore(at_a_time)

    async def one() -> None:
        async with turns:
            await (await _start(client, queue, "here")).result()

    await asyncio.gather(*(one() for _ in range(number)))


async def _start(client: Client, queue: str, address: str) -> Any:
    number = uuid.uuid4().hex
    order = OrderInput(
        order_id=number,
        payment_details=PaymentDetails(card_token="card", amount_cents=100),
        items=[Item(sku="bread")],
        address=address,
    )
    return await client.start_workflow("OrderWorkflow", order, id=f"sandbox-{number}", task_queue=queue)


def summary(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Median, least and most of each figure, and of the ratios fleet / other within a pair."""
    said: dict[str, Any] = {}
    for figure in FIGURES:
        of = {v: [float(r[figure]) for r in results if r["variant"] == v] for v in VARIANTS}
        said[figure] = {variant: _spread(values) for variant, values in of.items()}
        for other in VARIANTS[1:]:
            ratios = [ours / theirs for ours, theirs in zip(of["fleet"], of[other], strict=True) if theirs > 0]
            said[figure][f"fleet/{other}"] = _spread(ratios)
    return said


def _spread(values: list[float]) -> dict[str, float]:
    if not values:
        return {"n": 0}
    return {
        "median": round(statistics.median(values), 3),
        "min": round(min(values), 3),
        "max": round(max(values), 3),
        "n": len(values),
    }


async def run(address: str, folder: Path, arguments: argparse.Namespace) -> None:
    """All pairs, one line each, and the summary."""
    client = await _connected(address)
    results = []
    for pair in range(arguments.pairs):
        turn = pair % len(VARIANTS)
        for variant in (*VARIANTS[turn:], *VARIANTS[:turn]):
            with (folder / f"{pair}-{variant}.log").open("wb") as log:
                worker = await asyncio.to_thread(MeasuredWorker, variant, address, arguments.builds, log)
                try:
                    figures = await measure(client, variant, worker, arguments.orders, arguments.cached)
                finally:
                    await asyncio.to_thread(worker.close)
            results.append({"pair": pair, **figures, "load_average": round(os.getloadavg()[0], 1)})
            print(json.dumps(results[-1]), flush=True)
    print(json.dumps(summary(results)), flush=True)


async def _connected(address: str) -> Client:
    deadline = time.monotonic() + 60
    while True:
        try:
            return await Client.connect(address, data_converter=pydantic_data_converter)
        except RuntimeError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.2)


def main() -> None:
    """Run it once; see the module's text."""
    parser = argparse.ArgumentParser(description="Measure what the workflow sandbox costs, against the raw SDK's.")
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--orders", type=int, default=100, help="orders for the CPU figure")
    parser.add_argument("--cached", type=int, default=100, help="runs in the cache for the memory figure")
    parser.add_argument("--builds", type=int, default=30, help="instances for the build figure")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="fleet-sandbox-"))
    sys.stderr.write(f"logs in {folder}\n")
    port = free_port(HOST)
    with (folder / "temporal.log").open("wb") as log:
        line = server.command(folder, port, free_port(HOST))
        temporal = subprocess.Popen(line, stdout=log, stderr=log, start_new_session=True)
    try:
        asyncio.run(run(f"{HOST}:{port}", folder, arguments))
    finally:
        os.killpg(temporal.pid, signal.SIGTERM)
        temporal.wait()
    # The SDK's threads may crash a normal exit (app.core.exit).
    os._exit(0)


if __name__ == "__main__":
    main()
