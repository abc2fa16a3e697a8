"""What does it cost a long activity that its worker is replaced? `python -m benchmarks.hand_over`, `--summary`.

One activity of 600 steps of a second with a checkpoint after each; its worker is replaced five times, evenly spread.
Rework is the share of steps that were done more than once, counted from the lines that the bodies write at each step.
Everything is real: server, processes, signals. `--minutes 1` is the short form; each run adds one result.
"""

from __future__ import annotations

import argparse
import os
import signal
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

from benchmarks.record import Record
from tests.apps.leaving import evidence
from tests.apps.leaving.activities import Job
from tests.apps.leaving.workflows import Leaves
from tests.local.dev_fleet import until
from tests.parts.temporal import own_server
from tests.worker.served import Served, client

REPLACEMENTS = 5
STEP_S = 1.0
HEARTBEAT_S = 30.0


def run(minutes: float) -> dict[str, Any]:
    """One activity from start to end."""
    with tempfile.TemporaryDirectory(prefix="fleet-hand-over-") as name:
        folder = Path(name)
        ran = folder / "ran"
        os.environ[evidence.VARIABLE] = str(ran)
        (folder / "server").mkdir()
        with own_server(folder / "server") as (address, _):
            worker = _worker(folder / "0", address)
            steps = round(minutes * 60 / STEP_S)
            workflow_id = f"export-{uuid.uuid4()}"
            job = Job(body="exports", steps=steps, step_s=STEP_S, heartbeat_s=HEARTBEAT_S, close_s=7200)
            begin = time.monotonic()
            with client(address) as call:
                call(lambda c: Leaves.start_workflow(c, input=job, id=workflow_id))
            codes = []
            for number in range(1, REPLACEMENTS + 1):
                time.sleep(max(0.0, begin + number * minutes * 60 / (REPLACEMENTS + 1) - time.monotonic()))
                leaving, worker = worker, _worker(folder / str(number), address)
                leaving.signal(signal.SIGTERM)
                codes.append(leaving.wait(120))
            until(lambda: evidence.lines(ran, "end", workflow_id), minutes * 60 + 120, 0.1)
            wall_s = time.monotonic() - begin
            worker.signal(signal.SIGTERM)
            worker.wait(120)
        done = [line["number"] for line in evidence.lines(ran, "step", workflow_id)]
        return {
            "minutes": minutes,
            "replacements": REPLACEMENTS,
            "steps": steps,
            "missing": len(set(range(steps)) - set(done)),
            "rework": len(done) - len(set(done)),
            "attempts": len(evidence.lines(ran, "start", workflow_id)),
            "workers": len({line["pid"] for line in evidence.lines(ran, "start", workflow_id)}),
            "wall_s": round(wall_s, 1),
            "ideal_s": steps * STEP_S,
            "exit_codes": codes,
        }


def _worker(folder: Path, address: str) -> Served:
    folder.mkdir()
    settings = {"TEMPORAL__ADDRESS": address, "TEMPORAL__WORKER__PACKAGES": '["tests.apps.leaving"]'}
    served = Served(folder, settings)
    served.ready()
    return served


def summary() -> str:
    """The table of the docs."""
    rows = [
        "| ideal, s | wall, s | workers replaced | attempts | steps | done twice | rework |",
        "|---|---|---|---|---|---|---|",
    ]
    for line in Record("hand_over").lines():
        share = 100 * line["rework"] / line["steps"]
        cells = (line[key] for key in ("ideal_s", "wall_s", "replacements", "attempts", "steps", "rework"))
        rows.append("| " + " | ".join(f"{cell:g}" for cell in cells) + f" | {share:.1f} % |")
    return "\n".join(rows)


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description="What replaced workers cost a long activity.")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--summary", action="store_true", help="print the table of the results so far")
    arguments = parser.parse_args()
    if not arguments.summary:
        result = run(arguments.minutes)
        print(result, flush=True)
        Record("hand_over").add(result)
    print(summary(), flush=True)
    os._exit(0)  # the SDK's threads may crash a normal exit (app.core.exit)


if __name__ == "__main__":
    main()
