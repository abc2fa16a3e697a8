"""benchmarks.cycles for the operator, on a Kubernetes: `FLEET_TEST_CLUSTER=build python -m benchmarks.operator_cycles`

A release with one pool and its Deployment on a node of this machine, and Temporal; the operator runs as a process here.
`--until 200`: as there; `python -m benchmarks.cycles --summary` prints its row.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.cycles import PYTHON, Command, measure, says
from benchmarks.leftovers import adopt_orphans
from benchmarks.record import Record
from tests.cluster.fixtures import built_cluster
from tests.operator.pool import RELEASE, apply_crd, create_pool
from tests.parts.temporal import own_server

NAMESPACE = "cycles"


@contextmanager
def command() -> Iterator[Command]:
    """The operator, with all that it needs."""
    with (
        tempfile.TemporaryDirectory(prefix="fleet-cycles-") as folder,
        built_cluster(Path(folder)) as cluster,
        own_server(Path(folder)) as (temporal, _),
    ):
        apply_crd(cluster)
        cluster.kubectl("create", "namespace", NAMESPACE)
        create_pool(cluster, NAMESPACE)
        settings = {
            "KUBECONFIG": str(cluster.kubeconfig),
            "FLEET_OPERATOR__NAMESPACE": NAMESPACE,
            "FLEET_OPERATOR__RELEASE": RELEASE,
            "FLEET_TEMPORAL__ADDRESS": temporal,
        }
        yield Command("operator", (*PYTHON, "app.operator.main"), (), says("scaling the pools of"), settings)


def main() -> None:
    """Run what is missing; see the module's text."""
    parser = argparse.ArgumentParser(description="Start and stop the operator, and look for what is left.")
    parser.add_argument("--until", type=int, default=5, metavar="N", help="cycles, with those on record")
    arguments = parser.parse_args()
    record = Record("cycles")
    # A shell lets programs in the background ignore Ctrl-C, and they hand that down to what they start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with command() as operator:
        adopt_orphans()
        while len(record.lines(command=operator.name)) < arguments.until:
            print(json.dumps(measure(operator, record)), flush=True)
    # The SDK's threads may crash a normal exit (app.core.exit).
    sys.stdout.flush()
    os._exit(0 if all(line["ok"] for line in record.lines(command=operator.name)) else 1)


if __name__ == "__main__":
    main()
