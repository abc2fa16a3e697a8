"""All long proofs, one after the other, each to the number that the docs speak of: `make bench`.

Each goes on from what benchmarks/results has of it, so this may be stopped and started at any time (hand_over, sandbox,
visibility_lag and thousand_pools take some minutes, and are made anew); all together take a day. Those that need a
cluster build one here, and only when FLEET_TEST_CLUSTER=build says so. Nothing else should run beside them.
`python -m benchmarks --list` prints their commands; all but sandbox have a --summary.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys

ANYWHERE = (
    "cycles --until 200",
    "api_restarts --until 50",
    "drain --until 500 --pace 1.4",
    "kill --until 30",
    "rotation --until 60",
    "stuck --until 100",
    "outage --until 1",
    "hand_over",
    "policy_steps --until 100000",
    "policy_steps --mutants",
    "scaling --seeds 20",
    "visibility_lag",
    "sandbox",
)
ON_A_CLUSTER = (
    "operator_cycles --until 200",
    "rollouts --until 25",
    "zero --until 7",
    "burst --until 8",
    "busy_queue --until 1",
    "busy_queue --until 1 --default-idle",
    "scale_downs --until 100",
    "calls --until 5",
    "thousand_pools",
)


def main() -> int:
    """Runs them, with 1 when one has failed; those after it run all the same."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Run all long proofs.")
    parser.add_argument("--list", action="store_true", help="print the commands")
    names = {command.split()[0] for command in (*ANYWHERE, *ON_A_CLUSTER)}
    parser.add_argument("--only", action="append", choices=sorted(names), metavar="NAME", help="may be repeated")
    arguments = parser.parse_args()
    cluster = os.environ.get("FLEET_TEST_CLUSTER") == "build"
    failed = list[str]()
    for command in (*ANYWHERE, *ON_A_CLUSTER):
        name, *options = shlex.split(command)
        if arguments.only and name not in arguments.only:
            continue
        text = f"{'FLEET_TEST_CLUSTER=build ' if command in ON_A_CLUSTER else ''}python -m benchmarks.{command}"
        if arguments.list:
            print(text)
        elif command in ON_A_CLUSTER and not cluster:
            print(f"SKIPPED: {text}", file=sys.stderr)
            failed += [text] if arguments.only else []
        else:
            print(f"+ {text}", file=sys.stderr, flush=True)
            if subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *options], check=False).returncode:
                failed.append(text)
    for text in failed:
        print(f"FAILED: {text}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
