"""One operator, 1,000 pools: what it costs and how soon it sees work.

FLEET_TEST_CLUSTER=build python -m benchmarks.thousand_pools      measures once, 5 minutes at rest among it
python -m benchmarks.thousand_pools --summary                     prints the table of what is on record

The operator is a process of its own, the API server and Temporal are real. Of the pools only the objects are there, but
those that are awake have a worker each (all in one process), and what is woken gets one. Most pools sleep; a fifth of
them has activities alone, of which no start tells.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from temporalio.client import Client

from benchmarks.record import Record
from benchmarks.thousand.meter import Audit, Meter, at_most
from benchmarks.thousand.pools import ACTIVITIES, ASLEEP, AWAKE, LONGEST, Once, Workers, create
from benchmarks.thousand.watch import Statuses, Watch
from tests.cluster.client import Cluster
from tests.cluster.fixtures import built_cluster
from tests.operator.pool import RELEASE, apply_crd
from tests.operator.process import grant, kubeconfig, operator, until
from tests.parts.grpc_proxy import grpc_proxy
from tests.parts.temporal import own_server

NAMESPACE = "thousand"
SHOWN_S = 300.0
KNOWN_S = 600.0
AROUND_S = 210.0  # 1,800 task types at 8.7 calls a second


class Woken(Watch):
    """When each Deployment was first told to have a replica, by its pool's name."""

    def __init__(self, cluster: Cluster) -> None:
        self.at: dict[str, float] = {}
        super().__init__(cluster, NAMESPACE, "deployments", ".spec.replicas")

    def told(self, name: str, value: str) -> None:
        if value not in ("", "0"):
            self.at.setdefault(name.removeprefix(f"{RELEASE}-"), time.monotonic())


async def detect(address: str, woken: Woken, workers: Workers, queues: list[str], *, activities: bool) -> list[float]:
    """Seconds from work on each of `queues` to a replica; workflows one after the other, activities all together."""
    client = await Client.connect(address)

    async def one(queue: str) -> float:
        await asyncio.sleep(random.uniform(0, AROUND_S if activities else 3))
        on, argument = (random.choice(AWAKE), queue) if activities else (queue, "")
        began = time.monotonic()
        handle = await client.start_workflow(
            Once.run, argument, id=str(uuid.uuid4()), task_queue=on, execution_timeout=LONGEST
        )
        async with asyncio.timeout(LONGEST.total_seconds()):
            while queue not in woken.at:  # noqa: ASYNC110 - a thread writes it down
                await asyncio.sleep(0.01)
        workers.serve(queue)
        await handle.result()
        return woken.at[queue] - began

    if activities:
        return list(await asyncio.gather(*map(one, queues)))
    return [await one(queue) for queue in queues]


@contextmanager
def fleet(folder: Path) -> Iterator[tuple[Cluster, str, Workers]]:
    """A cluster with all objects, a Temporal (its address) and the workers of those that are awake."""
    with ExitStack() as stack:
        cluster = stack.enter_context(built_cluster(folder))
        temporal, _ = stack.enter_context(own_server(folder))
        apply_crd(cluster)
        cluster.kubectl("create", "namespace", NAMESPACE)
        create(cluster, NAMESPACE)
        workers = Workers(temporal)
        stack.callback(workers.kill)
        workers.serve(*AWAKE)
        yield cluster, temporal, workers


def measure(windows: int, detections: int, profile: Callable[[int], None] = lambda _: None) -> dict[str, Any]:
    """One operator's life. `profile` gets its process id while it is at rest."""
    with tempfile.TemporaryDirectory(prefix="fleet-thousand-") as folder, ExitStack() as stack:
        cluster, temporal, workers = stack.enter_context(fleet(Path(folder)))
        proxy = stack.enter_context(grpc_proxy(temporal))
        config = kubeconfig(cluster, grant(cluster, NAMESPACE), Path(folder, "kubeconfig"))
        assert cluster.audit_log
        audit = Audit(cluster.audit_log, NAMESPACE)
        woken = Woken(cluster)
        stack.callback(woken.kill)
        statuses = Statuses(cluster, NAMESPACE)
        stack.callback(statuses.kill)
        running = stack.enter_context(operator(config, NAMESPACE, proxy.address))
        stack.callback(lambda: say("\n".join(running.lines[-5:])))
        meter = Meter(running, proxy, audit)
        shown = until(lambda: running.lives() and _share(cluster, bool) == 1, SHOWN_S, "a status for each pool", 2)
        # On a machine that is busy otherwise, some calls to Temporal take too long at any time: then it stays below 1.
        began = time.monotonic()
        while running.lives() and (known := _share(cluster, _demand_known)) < 1 and time.monotonic() - began < KNOWN_S:
            time.sleep(20)
        known_s = time.monotonic() - began
        say(f"status of all after {shown:.0f} s, demand of {known:.1%} known after {shown + known_s:.0f} s")
        time.sleep(20)
        asked_first = audit.read()
        statuses.changes()
        rest = []
        for _ in range(windows):
            rest.append(meter.window(60.0) | {"changes": statuses.changes()})
            say(json.dumps(rest[-1]))
        profile(running.process.pid)
        starts, slow = random.sample(ASLEEP, detections), random.sample(ACTIVITIES, detections)
        by_workflow = asyncio.run(detect(temporal, woken, workers, starts, activities=False))
        say(f"workflows: {sorted(by_workflow)}")
        by_activity = asyncio.run(detect(temporal, woken, workers, slow, activities=True))
        say(f"activities: {sorted(by_activity)}")
        return {
            "pools": len(AWAKE + ASLEEP + ACTIVITIES),
            "shown_s": round(shown, 1),
            "known_s": round(shown + known_s, 1),
            "known_share": round(known, 3),
            "asked_first": dict(asked_first),
            "windows": rest,
            "workflow_s": [round(each, 2) for each in sorted(by_workflow)],
            "activity_s": [round(each, 1) for each in sorted(by_activity)],
            "lines": running.lines[-50:],
        }


def _share(cluster: Cluster, holds: Callable[[dict[str, Any]], bool]) -> float:
    """Of the pools, those of whose status it holds."""
    items = json.loads(cluster.kubectl("get", "wp", "--output", "json", namespace=NAMESPACE))["items"]
    return sum(holds(item.get("status", {})) for item in items) / len(items)


def _demand_known(status: dict[str, Any]) -> bool:
    return any((c["type"], c["status"]) == ("DemandKnown", "True") for c in status.get("conditions", ()))


def say(text: str) -> None:
    print(text, flush=True)


def summary(record: Record) -> str:
    """The table, a row a run."""
    columns = ("pools", "CPU % of a core", "RSS MiB", "look lag p50 / p99 s", "looks", "calls to Temporal / s")
    rows = [f"| {' | '.join(columns)} | writes, of them no news |"]
    rows += ["|" + " --- |" * 7]
    detections = []
    for line in record.lines():
        windows = line["windows"]
        lags = [window["lags"] for window in windows]
        calls = [sum(window["temporal_per_s"].values()) for window in windows]
        rows.append(
            f"| {line['pools']} | {_spread(windows, 'cpu_percent')} | {_spread(windows, 'rss_mib')} "
            f"| {at_most(lags, 0.5)} / {at_most(lags, 0.99)} | {sum(lag['inf'] for lag in lags):.0f} "
            f"| {median(calls):.1f} | {_writes(windows)} |"
        )
        for what in ("workflow_s", "activity_s"):
            if not (found := line[what]):
                continue
            detections.append(f"{line['commit']} {what}: n={len(found)}, {found[0]} / {median(found)} / {found[-1]}")
    return "\n".join([*rows, "", *detections, "", record.footnote()])


def _writes(windows: list[dict[str, Any]]) -> str:
    """How many; and, where statuses were watched, how many of them changed nothing."""
    writes, watched = sum(window["writes"] for window in windows), all("changes" in window for window in windows)
    changes = [change.keys() - {"pool", "observedTime"} for window in windows for change in window.get("changes", ())]
    return f"{writes}, {sum(not what for what in changes) if watched else '-'}"


def _spread(windows: list[dict[str, Any]], key: str) -> str:
    values = sorted(window[key] for window in windows)
    return f"{median(values)} ({values[0]} to {values[-1]}, n={len(values)})"


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description="Measure one operator with 1,000 pools.")
    parser.add_argument("--windows", type=int, default=5, metavar="N", help="minutes at rest")
    parser.add_argument("--detections", type=int, default=20, metavar="N", help="queues of each kind to wake")
    parser.add_argument("--summary", action="store_true", help="print the table and end")
    arguments = parser.parse_args()
    record = Record("thousand_pools")
    if arguments.summary:
        print(summary(record))
        return
    with record.trial():
        record.add(measure(arguments.windows, arguments.detections))
    print(summary(record))
    # The SDK's threads may crash a normal exit (app.core.exit).
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
