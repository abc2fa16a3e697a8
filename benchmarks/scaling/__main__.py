"""How do autoscalers of Temporal workers compare? `python -m benchmarks.scaling --seeds 20`

A discrete-event simulation of a task queue, its pods and what can be seen of them drives the real `decide` of
app.scaling.policy, models of KEDA, an HPA on CPU and Knative's law, static pods, and gives a lower bound. Everything is
drawn from seeds: the same command gives the same figures. Tuning scenarios and hold-out scenarios are kept apart.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.record import RESULTS, Record
from benchmarks.scaling import plots
from benchmarks.scaling.calibration import calibrate, sets, table
from benchmarks.scaling.campaign import go
from benchmarks.scaling.report import summary

PLOTS = Path(__file__).parents[2] / "docs" / "scaling"


def main() -> int:
    """See the module's text."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description="Compare autoscalers.")
    parser.add_argument("--seeds", type=int, default=20, help="on record for each scenario when it ends (default 20)")
    parser.add_argument("--only", action="append", default=[], metavar="SCENARIO", help="this one (may be repeated)")
    parser.add_argument("--calibrate", action="store_true", help="hold the simulation against what was measured")
    parser.add_argument("--summary", action="store_true", help="print what is on record, and do nothing")
    parser.add_argument("--plots", action="store_true", help=f"draw into {PLOTS.relative_to(PLOTS.parents[1])}")
    parser.add_argument("--folder", type=Path, default=RESULTS, help="of scaling.jsonl")
    parser.add_argument("--before", metavar="NAME", help="take all but ours from NAME.jsonl, if nothing else changed")
    arguments = parser.parse_args()
    record = Record("scaling", arguments.folder)
    if arguments.calibrate:
        return _calibrate()
    if arguments.plots:
        print(*plots.draw(PLOTS, record), sep="\n")
        return 0
    if not arguments.summary:
        before = Record(arguments.before, arguments.folder) if arguments.before else None
        if before and not before.lines():
            parser.error(f"--before: there are no lines in {arguments.folder / arguments.before}.jsonl")
        for line in go(record, arguments.seeds, arguments.only, before):
            print(line, file=sys.stderr, flush=True)
    print(summary(record))
    return 0


def _calibrate() -> int:
    fine = True
    for measured in sets():
        print(f"## {measured['set']}\n\n{measured['source']}\n")
        if measured["figures"]:
            rows = calibrate(measured)
            print(table(rows), end="\n\n")
            fine = fine and all(row.holds for row in rows)
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
