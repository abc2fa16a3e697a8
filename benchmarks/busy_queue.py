"""Is a busy queue put to sleep because nothing waits? `FLEET_TEST_CLUSTER=build python -m benchmarks.busy_queue`

Five activities of two minutes on one pod with 10 slots, nothing waiting, minReplicas 0: what an autoscaler that counts
the backlog takes for an idle queue. Five queues of each kind side by side: workflows that call activities on their own
queue (which the server's statistics do not see), and activities of no workflow, alone on their queue. An activity is
lost when it began and did not end. idleSeconds is 30, and with --default-idle 600, with activities that last longer.

    --until N   go on until N trials (50 activities each) are recorded in results/busy_queue.jsonl
    --summary   print what is recorded
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
import uuid
from typing import Any

from benchmarks.burst import spread
from benchmarks.counted.place import Place, place
from benchmarks.counted.pods import CountedPods
from benchmarks.counted.work import alone, call
from benchmarks.record import Record
from tests.cluster.machine import busy

RELEASE = "busy"
QUEUES, ACTIVITIES = 5, 5
KINDS = {"workflow and activity": ["workflow", "activity"], "activity alone": ["activity"]}
IDLE = {30: 120.0, 600: 700.0}
"""idleSeconds, and how long each activity then lasts."""
ASLEEP_S = 90.0
"""After idleSeconds without work the last replica must be gone within so long."""


async def queue(at: Place, pods: CountedPods, kind: str, idle_s: int, lasts_s: float) -> dict[str, Any]:
    """One queue, asleep before its five activities come; what became of them and of its replicas."""
    pool = f"busy-{uuid.uuid4().hex[:8]}"
    types = KINDS[kind]
    spec = {"taskTypes": types, "minReplicas": 0, "maxReplicas": 5, "idleSeconds": idle_s}
    if "workflow" in types:
        pods.workflows.add(pool)
    await asyncio.to_thread(at.create, RELEASE, pool, 0, spec)
    began, ended = time.monotonic(), None
    work: asyncio.Future[Any]
    if "workflow" in types:
        work = asyncio.ensure_future(call(pods.client, pool, pool, [[lasts_s] * ACTIVITIES]))
    else:
        work = asyncio.gather(*(alone(pods.client, pool, lasts_s) for _ in range(ACTIVITIES)))
    try:
        # Long enough for a second run of each; what loops for ever has lost them by then.
        await asyncio.wait_for(asyncio.shield(work), 2 * lasts_s + 60)
        ended = time.monotonic()
        await pods.until(lambda: pods.replicas[pool][-1][1] == 0, idle_s + ASLEEP_S, "0 replicas")
    except TimeoutError:
        work.cancel()
    bodies, changes = pods.book.of(pool), pods.replicas[pool]
    while_busy = [now for at_s, now in changes[1:] if now == 0 and any(_ran(body, at_s) for body in bodies)]
    await asyncio.to_thread(at.delete, pool)
    return {
        "starts": len(bodies),
        "finished": len(pods.book.ends(pool)),
        "pods": len({body.pod for body in bodies}),
        "to_zero_while_busy": len(while_busy),
        "zero_after_s": round(changes[-1][0] - ended, 1) if ended and changes[-1][1] == 0 else None,
        "replicas": [(round(at_s - began, 1), now) for at_s, now in changes[1:]],
    }


def _ran(body: Any, at_s: float) -> bool:
    ended = body.ended_at or body.cut_at or float("inf")
    return bool(body.began_at < at_s < ended)


async def trial(at: Place, pods: CountedPods, idle_s: int, lasts_s: float) -> dict[str, Any]:
    """All queues of both kinds, side by side."""
    kinds = [kind for kind in KINDS for _ in range(QUEUES)]
    with busy() as cpu:
        queues = await asyncio.gather(*(queue(at, pods, kind, idle_s, lasts_s) for kind in kinds))
    rows = [{"kind": kind, **result} for kind, result in zip(kinds, queues, strict=True)]
    return {"idle_s": idle_s, "lasts_s": lasts_s, "queues": rows, "cpu_percent": round(cpu.percent)}


def proceed(until: int, idle_s: int, record: Record) -> None:
    """Make what is missing."""
    with place() as at, at.operator(RELEASE):
        asyncio.run(_proceed(at, until, idle_s, record))


async def _proceed(at: Place, until: int, idle_s: int, record: Record) -> None:
    async with CountedPods(at) as pods:
        while len(record.lines(idle_s=idle_s)) < until:
            with record.trial(idle_s=idle_s):
                result = await trial(at, pods, idle_s, IDLE[idle_s])
            record.add(result)
            print(result, flush=True)


def summary(record: Record) -> str:
    """The recorded trials as a table in Markdown; times: min / median / max."""
    head = ["idleSeconds", "queue", "activities last, s", "queues", "activities", "starts", "lost"]
    head += ["to 0 while busy", "0 replicas after the last activity, s"]
    rows = []
    for idle_s in IDLE:
        for kind in KINDS if (lines := record.lines(idle_s=idle_s)) else ():
            queues = [q for line in lines for q in line["queues"] if q["kind"] == kind]
            rows.append([str(idle_s), kind, f"{lines[0]['lasts_s']:g}", *_row(queues)])
    table = "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])
    return f"{table}\n\n{record.footnote()}"


def _row(queues: list[dict[str, Any]]) -> list[str]:
    starts, finished = sum(q["starts"] for q in queues), sum(q["finished"] for q in queues)
    asleep = spread([q["zero_after_s"] for q in queues if q["zero_after_s"] is not None])
    zeroed = str(sum(q["to_zero_while_busy"] for q in queues))
    return [str(len(queues)), str(len(queues) * ACTIVITIES), str(starts), str(starts - finished), zeroed, asleep]


def main() -> None:
    """Go on with the record, or print it; see the module's text."""
    parser = argparse.ArgumentParser(description="Whether busy queues without backlog lose their pods.")
    parser.add_argument("--until", type=int, metavar="N", help="trials, with those on record")
    parser.add_argument("--default-idle", action="store_true", help="with the default idleSeconds; 25 minutes a trial")
    parser.add_argument("--summary", action="store_true")
    arguments = parser.parse_args()
    record = Record("busy_queue")
    if arguments.until:
        proceed(arguments.until, 600 if arguments.default_idle else 30, record)
    if arguments.summary:
        print(summary(record))
    sys.stdout.flush()
    # The SDK's threads may crash a normal exit (app.core.exit).
    os._exit(0)


if __name__ == "__main__":
    main()
