"""Does a rolling restart of real pods lose or repeat work? `FLEET_TEST_CLUSTER=build python -m benchmarks.rollouts`

The release of tests/cluster/test_rollouts.py on a real Kubernetes: a pod a queue, orders at a steady rate, both
Deployments restarted again and again; the server's flag frontend.enableCancelWorkerPollsOnShutdown off and on, in turn.
A restart that met an idle pod shows nothing and is not counted, unless it did harm.

    --until N   go on until N restarts are recorded for each of the two, from what results/rollouts.jsonl has
    --summary   print what is recorded
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from math import ceil
from pathlib import Path
from secrets import token_hex
from statistics import median
from typing import Any

from benchmarks.record import Record
from tests.cluster.client import Cluster
from tests.cluster.endings import Endings
from tests.cluster.fixtures import built_cluster
from tests.cluster.machine import busy
from tests.cluster.release import Release
from tests.cluster.rolling import completed, one_pod_a_queue, restart
from tests.image.build import image_tar
from tests.orders.load import SteadyOrders
from tests.parts.postgres import postgres_server

ORDERS_PER_S = 4.0
BLOCK = 5
"""Restarts of one release, before the flag is changed."""
IDLE_LIMIT = 10
FLAG = {False: "off", True: "on"}


@contextmanager
def machine() -> Iterator[tuple[Path, Cluster]]:
    """The image of the code as it is now, and a node."""
    with tempfile.TemporaryDirectory() as home:
        tar = image_tar()
        with built_cluster(Path(home)) as cluster:
            yield tar, cluster


def measure(shop: Release, endings: Endings, name: str, per_s: float) -> dict[str, Any] | None:
    """One restart of both Deployments under load; None when it met an idle pod, and did no harm."""
    with SteadyOrders(shop.place, per_s, name) as load, busy() as cpu:
        ended = restart(shop, endings)
    seen = completed(shop, load.placed)
    harm = seen.not_completed or seen.repeated or seen.orphaned or not all(ending.clean for ending in ended)
    if not harm and not all(ending.in_hand for ending in ended):
        return None
    return {
        "orders": len(load.placed),
        "refused": len(load.refused),
        "orders_per_s": round(load.rate, 1),
        "cpu_percent": round(cpu.percent),
        "pods": [{**asdict(ending), "clean": ending.clean} for ending in ended],
        "lost": len(seen.not_completed),
        "repeated": len(seen.repeated),
        "orphaned": len(seen.orphaned),
        "bodies": seen.bodies,
        "orphans": seen.orphaned,
    }


def proceed(until: int, per_s: float, record: Record) -> None:
    """Make what is missing, in blocks, the flag with fewer restarts first."""

    def missing(flag: bool) -> int:
        return until - len(record.lines(poll_cancel=FLAG[flag]))

    with ExitStack() as stack:
        tar, cluster = stack.enter_context(machine())
        ledger = stack.enter_context(postgres_server(cluster.host_address or "127.0.0.1"))
        while (flag := max((False, True), key=missing)) in FLAG and missing(flag) > 0:
            with one_pod_a_queue(tar, cluster, ledger, poll_cancel=flag) as (shop, endings):
                _block(shop, endings, flag, min(BLOCK, missing(flag)), per_s, record)


def _block(shop: Release, endings: Endings, flag: bool, wanted: int, per_s: float, record: Record) -> None:
    idle = 0
    while wanted and idle < IDLE_LIMIT:
        result = measure(shop, endings, f"restart-{token_hex(4)}", per_s)
        if result is None:
            idle += 1
            print("met an idle pod: not counted", file=sys.stderr, flush=True)
            continue
        wanted -= 1
        record.add({"poll_cancel": FLAG[flag], **result})
        print({"poll_cancel": FLAG[flag], **result}, flush=True)


def summary(record: Record) -> str:
    """The recorded restarts as a table in Markdown."""
    head = ["server's poll-cancel flag", "restarts (pods)", "orders", "in hand at SIGTERM: median (min-max)"]
    head += ["orphaned dispatches", "bodies that ran twice", "orders lost", "exits that were not 0", "beyond the grace"]
    head += ["s from SIGTERM to drained: median (max)", "s from deletion to exit: median, 95 %, max", "grace, s"]
    rows = [[flag, *_row(lines)] for flag in FLAG.values() if (lines := record.lines(poll_cancel=flag))]
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])


def _row(lines: list[dict[str, Any]]) -> list[str]:
    pods = [pod for line in lines for pod in line["pods"]]
    hands = sorted(pod["in_hand"] for pod in pods)
    took = sorted(pod["watched_s"] for pod in pods)
    drained = sorted(pod["drained_s"] for pod in pods if pod["drained_s"] is not None)

    def total(key: str) -> str:
        return str(sum(line[key] for line in lines))

    return [
        f"{len(lines)} ({len(pods)})",
        total("orders"),
        f"{median(hands):g} ({hands[0]}-{hands[-1]})",
        total("orphaned"),
        total("repeated"),
        total("lost"),
        str(sum(pod["exit_code"] != 0 for pod in pods)),
        str(sum(pod["took_s"] > pod["grace_s"] for pod in pods)),
        f"{median(drained):.1f} ({drained[-1]:.1f})" if drained else "unknown",
        f"{median(took):.1f}, {took[ceil(0.95 * len(took)) - 1]:.1f}, {took[-1]:.1f}",
        f"{pods[0]['grace_s']:g}",
    ]


def main() -> None:
    """Go on with the record, or print it; see the module's text."""
    parser = argparse.ArgumentParser(description="Count what rolling restarts of real pods lose and repeat.")
    parser.add_argument("--until", type=int, metavar="N", help="restarts for each setting of the server's flag")
    parser.add_argument("--orders-per-s", type=float, default=ORDERS_PER_S)
    parser.add_argument("--summary", action="store_true")
    arguments = parser.parse_args()
    record = Record("rollouts")
    if arguments.until:
        proceed(arguments.until, arguments.orders_per_s, record)
    if arguments.summary:
        print(summary(record))
    sys.stdout.flush()
    # The SDK's threads may crash a normal exit (app.core.exit).
    os._exit(0)


if __name__ == "__main__":
    main()
