"""What does a queue cost in calls to Temporal? `FLEET_TEST_CLUSTER=build python -m benchmarks.calls --until 3`

Four queues side by side, each with an operator of its own, whose calls a proxy counts in windows of 60 s: one that
sleeps (minReplicas 0, no pod), one that is saturated (one pod of at most one, all slots busy and more waiting), one at
work (one pod of 10 slots; at random two workflows a second, each with an activity of a second on the same queue) and
one that is calm (one pod, nothing to do). Each has both task types.

    --until N   go on until N windows are recorded in results/calls.jsonl
    --summary   print what is recorded
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack

from temporalio.client import Client

from benchmarks.burst import spread
from benchmarks.counted.place import Place, place
from benchmarks.counted.pods import CALLER, SLOTS, CountedPods
from benchmarks.counted.work import call
from benchmarks.record import Record, main_of
from tests.parts.grpc_proxy import Proxy

TYPES = ["workflow", "activity"]
PER_TYPE = "DescribeTaskQueue"
WINDOW_S, SETTLED_S, READY_S = 60.0, 45.0, 120.0
REPLICAS = {"sleeping": (0, 0), "saturated": (1, 1), "working": (1, 5), "calm": (1, 5)}
"""At the start, and at most."""
WORK_S = 2 * 3600.0
PER_S = 2.0


def proceed(until: int, record: Record) -> None:
    """Make the windows that are missing."""
    with ExitStack() as stack:
        at = stack.enter_context(place())
        asked = {kind: stack.enter_context(at.operator(kind)) for kind in REPLICAS}
        asyncio.run(_proceed(at, asked, until, record))


async def _proceed(at: Place, asked: Mapping[str, Proxy], until: int, record: Record) -> None:
    async with CountedPods(at) as pods:
        pools = {kind: f"{kind}-{uuid.uuid4().hex[:8]}" for kind in REPLICAS}
        pods.workflows.update(pools.values())
        for kind, (first, most) in REPLICAS.items():
            spec = {"taskTypes": TYPES, "minReplicas": first, "maxReplicas": max(most, 1)}
            await asyncio.to_thread(at.create, kind, pools[kind], first, spec)
        awake = [pools[kind] for kind, (first, _) in REPLICAS.items() if first]
        await pods.until(lambda: all(pods.working(name) == 1 for name in awake), READY_S, "pods")
        held = asyncio.create_task(call(pods.client, CALLER, pools["saturated"], [[WORK_S] * 2 * SLOTS]))
        stream = asyncio.create_task(_stream(pods.client, pools["working"]))
        await asyncio.sleep(SETTLED_S)
        while len(record.lines()) < until:
            line = {"calls": await _window(pods, asked), "types": len(TYPES)}
            for work in (held, stream):
                assert not work.done(), work
            record.add(line)
            print(line, flush=True)
        for work in (held, stream):
            work.cancel()


async def _stream(client: Client, queue: str) -> None:
    async with asyncio.TaskGroup() as group:
        while True:
            group.create_task(call(client, queue, queue, [[1.0]]))
            await asyncio.sleep(random.expovariate(PER_S))


async def _window(pods: CountedPods, asked: Mapping[str, Proxy]) -> dict[str, dict[str, int]]:
    before = {kind: Counter(proxy.calls) for kind, proxy in asked.items()}
    await asyncio.sleep(WINDOW_S)
    pods.check()
    return {kind: dict(Counter(proxy.calls) - before[kind]) for kind, proxy in asked.items()}


def summary(record: Record) -> str:
    """The recorded windows as a table in Markdown; calls a minute: min / median / max."""
    lines = record.lines()
    methods = [
        m for m in dict.fromkeys(m for line in lines for c in line["calls"].values() for m in c) if m != PER_TYPE
    ]
    rows = [["queue", "windows of 60 s", f"{PER_TYPE} for each type", *(f"{method} in all" for method in methods)]]
    rows.append(["---"] * len(rows[0]))
    for kind in REPLICAS if lines else ():
        of = [line["calls"][kind] for line in lines]
        each = spread([calls.get(PER_TYPE, 0) / line["types"] for calls, line in zip(of, lines, strict=True)])
        rows.append([kind, str(len(of)), each, *(spread([calls.get(method, 0) for calls in of]) for method in methods)])
    return "\n".join([*(f"| {' | '.join(row)} |" for row in rows), "", record.footnote()])


if __name__ == "__main__":
    main_of("calls", "Calls to Temporal, by what a queue does.", "windows", proceed, summary)
