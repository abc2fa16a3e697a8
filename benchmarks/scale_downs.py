"""Does a shrinking queue give up pods at work? `FLEET_TEST_CLUSTER=build python -m benchmarks.scale_downs --until 100`

Nine queues with longActivities side by side, five counted pods each. Some pods get activities that last longer than the
grace period, the others get none; then the load falls, minReplicas no longer holds the pods, and the operator takes one
after the other. For each pod that goes: was it at work when it was deleted, while another had nothing to do and stayed?
And was an activity cut? One wave takes two minutes; it goes on from what results/scale_downs.jsonl has.

    --until N      go on until N pods were taken
    --arrivals S   meanwhile a new activity comes every S seconds on each queue: it may meet a pod that is being taken
    --summary      print what is recorded
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
import time
import uuid
from contextlib import suppress
from typing import Any

from benchmarks.counted.place import Place, place
from benchmarks.counted.pods import GRACE_S, CountedPods
from benchmarks.counted.work import alone
from benchmarks.record import Record
from tests.cluster.machine import busy

RELEASE = "shrinking"
QUEUES, PODS = 9, 5
"""A node has room for 50 pods."""
ACTIVITIES = (2, 6)
LASTS_S = (30.0, 120.0)
SPEC = {
    "taskTypes": ["activity"],
    "minReplicas": PODS,
    "maxReplicas": PODS,
    "longActivities": True,
    "scaleDown": {"stabilizationWindowSeconds": 5},
}
READY_S, IN_HAND_S, WAVE_S, ARRIVE_S = 120.0, 30.0, 420.0, 120.0
ALONE_S = 120.0
"""After the last activity, for the pods that then have nothing to do."""


async def queue(at: Place, pods: CountedPods, arrivals_s: float) -> dict[str, Any]:
    """One queue, from five pods down to one."""
    pool = f"long-{uuid.uuid4().hex[:8]}"
    await asyncio.to_thread(at.create, RELEASE, pool, PODS, SPEC)
    await pods.until(lambda: pods.working(pool) == PODS, READY_S, f"{PODS} pods")
    lengths = [random.uniform(*LASTS_S) for _ in range(random.randint(*ACTIVITIES))]
    first = [alone(pods.client, pool, seconds) for seconds in lengths]
    work = asyncio.gather(*first, _arrive(pods, pool, arrivals_s))
    with suppress(TimeoutError):  # an overloaded machine has lost a dispatch; then there is less in hand
        await pods.until(lambda: len(pods.book.of(pool)) >= len(lengths), IN_HAND_S)
    in_hand = len(pods.book.of(pool))
    # The pods' next heartbeats tell of them.
    await asyncio.sleep(5)
    at_work = pods.busy(pool)
    await asyncio.to_thread(_lower, at, pool)
    began = time.monotonic()
    try:
        await asyncio.wait_for(work, WAVE_S)
        await pods.until(lambda: pods.replicas[pool][-1][1] == pods.working(pool) == 1, ALONE_S, "one pod")
    except TimeoutError:
        work.cancel()
    harmed = pods.harmed(pool)
    removed = [removed for removed in pods.removed if removed.pool == pool]
    await asyncio.to_thread(at.delete, pool)
    await pods.until(lambda: not pods.working(pool), READY_S, "no pod")
    # Cut is what began and did not end; those that hold on in a leaving pod are given its grace first.
    await asyncio.sleep(GRACE_S if any(body.ended_at is body.cut_at for body in pods.book.of(pool)) else 0)
    bodies = pods.book.of(pool)
    return {
        "activities": len(lengths),
        "in_hand": in_hand,
        "at_work": at_work,
        "pods": [
            {"s": round(r.at - began, 1), "in_hand": r.in_hand, "idle": len(r.idle), "harmed": r in harmed}
            for r in removed
        ],
        "starts": len(bodies),
        "finished": len(pods.book.ends(pool)),
        "cut": sum(body.cut_at is not None for body in bodies),
        "replicas": [(round(at_s - began, 1), now) for at_s, now in pods.replicas[pool] if at_s > began],
    }


async def _arrive(pods: CountedPods, pool: str, every_s: float) -> None:
    """New activities while the pool shrinks, as they come by chance."""
    until, coming = time.monotonic() + ARRIVE_S, set[asyncio.Task[None]]()
    while every_s and time.monotonic() < until:
        await asyncio.sleep(random.expovariate(1 / every_s))
        coming.add(asyncio.create_task(alone(pods.client, pool, random.uniform(*LASTS_S))))
    await asyncio.gather(*coming)


def _lower(at: Place, pool: str) -> None:
    patch = json.dumps({"spec": {"minReplicas": 1}})
    at.cluster.kubectl("patch", f"wp/{pool}", "--type=merge", "-p", patch, namespace=at.namespace)


async def wave(at: Place, pods: CountedPods, arrivals_s: float) -> dict[str, Any]:
    """All queues at once."""
    with busy() as cpu:
        queues = await asyncio.gather(*(queue(at, pods, arrivals_s) for _ in range(QUEUES)))
    return {"queues": queues, "taken": sum(len(q["pods"]) for q in queues), "cpu_percent": round(cpu.percent)}


def proceed(until: int, record: Record, **kind: Any) -> None:
    """Make what is missing."""
    with place() as at, at.operator(RELEASE):
        asyncio.run(_proceed(at, until, record, kind))


async def _proceed(at: Place, until: int, record: Record, kind: dict[str, Any]) -> None:
    async with CountedPods(at) as pods:
        while sum(line["taken"] for line in record.lines(**kind)) < until:
            with record.trial(**kind):
                result = await wave(at, pods, kind["arrivals_s"])
            record.add({**kind, **result})
            print({**kind, **result}, flush=True)


def summary(record: Record) -> str:
    """The recorded pods as a table in Markdown, by what the operator was."""
    head = [
        "operator",
        "a new activity every, s",
        "pods taken",
        "at work when taken",
        "of them while an idle one stayed",
    ]
    head += ["starts of activities", "finished", "cut"]
    rows = [[*map(str, kind.values()), *_row(record.lines(**kind))] for kind in _kinds(record)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])
    return f"{table}\n\n{record.footnote()}"


def _kinds(record: Record) -> list[dict[str, Any]]:
    found = dict.fromkeys((line["operator"], line["arrivals_s"]) for line in record.lines())
    return [{"operator": operator, "arrivals_s": arrivals_s} for operator, arrivals_s in found]


def _row(lines: list[dict[str, Any]]) -> list[str]:
    queues = [q for line in lines for q in line["queues"]]
    taken = [pod for q in queues for pod in q["pods"]]
    counts = [len(taken), sum(pod["in_hand"] > 0 for pod in taken), sum(pod["harmed"] for pod in taken)]
    return [str(each) for each in [*counts, *(sum(q[key] for q in queues) for key in ("starts", "finished", "cut"))]]


def main() -> None:
    """Go on with the record, or print it; see the module's text."""
    parser = argparse.ArgumentParser(description="Whether shrinking queues give up pods at work.")
    parser.add_argument("--until", type=int, metavar="N", help="pods taken, with those on record")
    parser.add_argument(
        "--operator", default="ours", metavar="NAME", help="what the results are of, where code changes"
    )
    parser.add_argument("--arrivals", type=float, default=0.0, metavar="S", help="seconds between new activities")
    parser.add_argument("--summary", action="store_true")
    arguments = parser.parse_args()
    record = Record("scale_downs")
    if arguments.until:
        proceed(arguments.until, record, operator=arguments.operator, arrivals_s=arguments.arrivals)
    if arguments.summary:
        print(summary(record))
    sys.stdout.flush()
    # The SDK's threads may crash a normal exit (app.core.exit).
    os._exit(0)


if __name__ == "__main__":
    main()
