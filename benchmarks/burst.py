"""How soon are enough replicas wanted for a burst? `FLEET_TEST_CLUSTER=build python -m benchmarks.burst --until 8`

500 activities of a second on one pod with 10 slots, at most 20 pods, the default policy; counted pods (counted/pods.py)
and our operator. In turn the service time is known from some activities before, or not: then the first that end tell
it. First with workers that tell of themselves each second and an operator that looks every two, as by default, then
with two seconds and three (CALM). Beside each trial are three controls, one after the other and in changing order: as
many pods as the formula wants for activities of a second, and 20, the most, there from the start; and one pod that is
scaled by hand to 20 as the burst begins.

    --until N   go on until N trials of each kind are recorded in results/burst.jsonl
    --summary   print what is recorded
"""

from __future__ import annotations

import asyncio
import math
import random
import time
import uuid
from collections import Counter
from dataclasses import asdict
from itertools import pairwise
from statistics import median
from typing import Any

from benchmarks.counted.place import Place, place
from benchmarks.counted.pods import CALLER, SLOTS, CountedPods
from benchmarks.counted.work import call
from benchmarks.pace import CALM, DEFAULT, Pace
from benchmarks.record import Record, main_of
from tests.cluster.machine import busy
from tests.parts.grpc_proxy import Proxy

RELEASE = "burst"
BURST, SERVICE_S, CALLERS = 500, 1.0, 10
MOST, MAX_WAIT_S = 20, 5
SPEC = {"taskTypes": ["activity"], "minReplicas": 1, "maxReplicas": MOST, "maxWaitSeconds": MAX_WAIT_S}
BEFORE = [[SERVICE_S] * 3] * 20
FADED_S = 20.0
"""What was in use before the burst is then no steady load any more."""
WATCHED_S = 60.0
"""After the end of the burst; replicas that are added then are for nothing."""
LIMIT_S = 180.0
AIM = 2
"""Most that a burst may take, as a multiple of its control."""

SERVICE_TIMES = "known", "unknown"
FORMULA = math.ceil((BURST - SLOTS) * SERVICE_S / MAX_WAIT_S / SLOTS)
"""Replicas that the documentation promises for what waits beside one full pod, when the service time is known."""


async def burst(pods: CountedPods, pool: str) -> tuple[float, float]:
    """When it was scheduled, and when its last activity had ended."""
    had, began = len(pods.book.ends(pool)), time.monotonic()
    each = [[SERVICE_S] * (BURST // CALLERS)]
    await asyncio.gather(*(call(pods.client, CALLER, pool, each) for _ in range(CALLERS)))
    ends = sorted(pods.book.ends(pool))
    assert len(ends) - had >= BURST, f"{len(ends) - had} of {BURST} activities ended"
    return began, ends[-1]


async def subject(at: Place, pods: CountedPods, asked: Proxy, release: str, service_time: str) -> dict[str, Any]:
    """A burst on one pod under our operator."""
    pool = f"subject-{uuid.uuid4().hex[:8]}"
    await asyncio.to_thread(at.create, release, pool, 1, SPEC)
    await pods.until(lambda: pods.working(pool) == 1, LIMIT_S, "one pod")
    if service_time == "known":
        await call(pods.client, CALLER, pool, BEFORE)
    await asyncio.sleep(FADED_S + random.uniform(0, 3))
    calls, before = dict(asked.calls), len(pods.replicas[pool])
    began, ended = await burst(pods, pool)
    drained_with = pods.replicas[pool][-1][1]
    await asyncio.sleep(max(0.0, began + 60 - time.monotonic()))
    minute = Counter(asked.calls) - Counter(calls)
    await asyncio.sleep(max(0.0, ended + WATCHED_S - time.monotonic()))
    pods.check()
    changes = pods.replicas[pool][before - 1 :]
    grown = [at_s for (_, was), (at_s, now) in pairwise(changes) if now > was]
    enough = [at_s for at_s, now in changes[1:] if now >= FORMULA]
    events = await asyncio.to_thread(at.events, pool)
    await _empty(at, pods, pool)
    return {
        "wanted_s": round(grown[0] - began, 2) if grown else None,
        "wanted_first": changes[1][1] if grown else None,
        "enough_s": round(enough[0] - began, 2) if enough else None,
        "peak": max(now for _, now in changes),
        "peak_s": round(max(changes, key=lambda c: (c[1], -c[0]))[0] - began, 2),
        "changes": [(round(at_s - began, 2), now) for at_s, now in changes[1:]],
        "added_late": sum(at_s > ended for at_s in grown),
        "drained_s": round(ended - began, 2),
        "drained_with": drained_with,
        "calls_in_60_s": dict(minute),
        "said": events,
    }


async def control(at: Place, pods: CountedPods, replicas: int, wanted: int | None = None) -> float:
    """Seconds to the end of a burst on pods that are there from the start; `wanted`: so many from its beginning on."""
    pool = f"control-{uuid.uuid4().hex[:8]}"
    await asyncio.to_thread(at.create, RELEASE, pool, replicas, None)
    await pods.until(lambda: pods.working(pool) == replicas, LIMIT_S, f"{replicas} pods")
    await asyncio.sleep(5)
    done = asyncio.create_task(burst(pods, pool))
    if wanted is not None:
        scale = ("scale", f"deployment/{pool}", f"--replicas={wanted}")
        await asyncio.to_thread(at.cluster.kubectl, *scale, namespace=at.namespace)
    began, ended = await done
    await _empty(at, pods, pool)
    return round(ended - began, 2)


async def trial(
    at: Place, pods: CountedPods, asked: Proxy, release: str, service_time: str, turn: int
) -> dict[str, Any]:
    """A burst and its controls, whose order changes with `turn`."""
    result = dict[str, Any]()
    # None is the subject, 1 the pod that is scaled by hand; the others are there from the start.
    parts: list[int | None] = [None, FORMULA, MOST, 1]
    drained: dict[int | None, float] = {}
    with busy() as cpu:
        for part in parts[turn % len(parts) :] + parts[: turn % len(parts)]:
            if part is None:
                result = await subject(at, pods, asked, release, service_time)
                drained[part] = result["drained_s"]
            else:
                drained[part] = await control(at, pods, part, MOST if part == 1 else None)
    return {
        "formula": FORMULA,
        **result,
        "control_drained_s": drained[FORMULA],
        "control_most_drained_s": drained[MOST],
        "by_hand_drained_s": drained[1],
        "order": turn % len(parts),
        "cpu_percent": round(cpu.percent),
    }


async def _empty(at: Place, pods: CountedPods, pool: str) -> None:
    await asyncio.to_thread(at.delete, pool)
    await pods.until(lambda: not pods.working(pool), LIMIT_S, "no pod")


def proceed(until: int, record: Record) -> None:
    """Make what is missing, one pace after the other."""
    with place() as at:
        for pace in (DEFAULT, CALM):
            if _next(record, pace, until):
                with at.operator(_release(pace), poll_s=pace.look_s) as asked:
                    asyncio.run(_proceed(at, asked, pace, until, record))


async def _proceed(at: Place, asked: Proxy, pace: Pace, until: int, record: Record) -> None:
    async with CountedPods(at, heartbeat_s=pace.heartbeat_s) as pods:
        while service_time := _next(record, pace, until):
            kind = _kind(pace, service_time)
            with record.trial(**kind):
                result = await trial(at, pods, asked, _release(pace), service_time, len(record.lines(**kind)))
            record.add({**kind, **result})
            print(result, flush=True)


def _next(record: Record, pace: Pace, until: int) -> str:
    """The kind of service time that has fewer trials; empty: none is missing."""
    n, service_time = min((len(record.lines(**_kind(pace, each))), each) for each in SERVICE_TIMES)
    return service_time if n < until else ""


def _release(pace: Pace) -> str:
    return f"{RELEASE}-{pace.heartbeat_s:g}-{pace.look_s:g}"


def _kind(pace: Pace, service_time: str) -> dict[str, Any]:
    return {"service_time": service_time, **asdict(pace)}


def summary(record: Record) -> str:
    """The recorded trials as a table in Markdown; times: min / median / max."""
    head = [
        "service time",
        "heartbeat, look, s",
        "n",
        "wanted after, s",
        "replicas wanted then",
        "peak",
        "added after the end",
        "drained, s",
    ]
    head += [
        f"{FORMULA} pods from the start, s",
        f"{MOST}, s",
        f"1, by hand to {MOST} as it begins, s",
        f"ratio to {FORMULA}",
        f"ratio to the nearer of {FORMULA} and {MOST}",
        f"in how many <= {AIM}",
        "calls to Temporal in 60 s",
    ]
    rows = [
        [service_time, f"{pace.heartbeat_s:g}, {pace.look_s:g}", *_row(lines)]
        for pace in (DEFAULT, CALM)
        for service_time in SERVICE_TIMES
        if (lines := record.lines(**_kind(pace, service_time)))
    ]
    table = "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])
    return f"{table}\n\n{record.footnote()}"


def _row(lines: list[dict[str, Any]]) -> list[str]:
    def of(key: str) -> str:
        return spread([line[key] for line in lines if line.get(key) is not None])

    calls = sum((Counter(line["calls_in_60_s"]) for line in lines), Counter[str]())
    ratios = [line["drained_s"] / _control_s(line) for line in lines]
    return [
        str(len(lines)),
        of("wanted_s"),
        of("wanted_first"),
        of("peak"),
        str(sum(line["added_late"] for line in lines)),
        of("drained_s"),
        of("control_drained_s"),
        of("control_most_drained_s"),
        of("by_hand_drained_s"),
        spread([round(line["drained_s"] / line["control_drained_s"], 2) for line in lines]),
        spread([round(ratio, 2) for ratio in ratios]),
        str(sum(ratio <= AIM for ratio in ratios)),
        ", ".join(f"{method} {count / len(lines):.0f}" for method, count in calls.most_common()),
    ]


def _control_s(line: dict[str, Any]) -> float:
    """What the control that is nearest in size took; of two that are equally near, the larger."""
    most = abs(line["peak"] - MOST) <= abs(line["peak"] - FORMULA)
    return float(line["control_most_drained_s" if most else "control_drained_s"])


def spread(numbers: list[float]) -> str:
    """min / median / max."""
    return " / ".join(f"{each:g}" for each in (min(numbers), median(numbers), max(numbers))) if numbers else "never"


if __name__ == "__main__":
    main_of("burst", "How soon enough replicas are wanted for a burst.", "trials of each kind", proceed, summary)
