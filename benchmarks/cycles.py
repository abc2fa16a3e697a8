"""Does a command leave anything behind, however often it is started and stopped?

`python -m benchmarks.cycles --until 200`. Each cycle: start; wait until it is ready, a random moment more; SIGTERM or
Ctrl-C; then look for what is left: exit code, processes, zombies, ports, files in its TMPDIR and working folder. Every
fifth is stopped while it starts, where a process may also die of the signal. Short commands run to their end. "workers
of fleet dev" is one fleet whose workers are stopped one after the other: the supervisor's own descriptors and threads
must not become more.

It goes on from what benchmarks/results/cycles.jsonl has; --summary prints the table. The operator needs a cluster:
`benchmarks.operator_cycles`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from app.core.ports import free_port
from benchmarks.leftovers import adopt_orphans, children, counts, files, listening, orphans
from benchmarks.record import Record
from tests.local.dev_fleet import DevFleet, until
from tests.parts.temporal import own_server

HOST = "127.0.0.1"
PYTHON = (sys.executable, "-m")
START_TIMEOUT_S = 120
STOP_TIMEOUT_S = 120
KILLED = {-signal.SIGTERM, -signal.SIGINT, 128 + signal.SIGTERM, 128 + signal.SIGINT}
"""Exit codes of a process that a signal found before it had a handler."""
GUARDIAN_S = 60
"""What a killed supervisor left is ended by its guardian, within the graces of its children."""


@dataclass(frozen=True)
class Command:
    """What is started; `ports` are variables that get a free one each. Without `ready` it runs to its end."""

    name: str
    argv: tuple[str, ...]
    ports: tuple[str, ...] = ()
    ready: Callable[[Mapping[str, int], str], bool] | None = None
    """Asked with the ports and with all that it has printed."""
    env: Mapping[str, str] = field(default_factory=dict)


def answers(variable: str) -> Callable[[Mapping[str, int], str], bool]:
    """Ready as soon as /readyz at the port of `variable` says so."""

    def ready(ports: Mapping[str, int], _printed: str) -> bool:
        try:
            with urllib.request.urlopen(f"http://{HOST}:{ports[variable]}/readyz", timeout=5):
                return True
        except (OSError, urllib.error.URLError):
            return False

    return ready


def says(text: str) -> Callable[[Mapping[str, int], str], bool]:
    """Ready as soon as it has printed `text`."""
    return lambda _ports, printed: text in printed


def commands(temporal: str) -> list[Command]:
    """All commands that need no cluster; Temporal is at `temporal`."""
    address = {"FLEET_TEMPORAL__ADDRESS": temporal}
    local = tuple(
        f"FLEET_{name}" for name in ("LOCAL__TEMPORAL_PORT", "LOCAL__TEMPORAL_UI_PORT", "LOCAL__METRICS_PORT")
    )
    health, api = "FLEET_TEMPORAL__WORKER__HEALTH_PORT", "FLEET_API__PORT"
    fleet = (*PYTHON, "app.cli")
    return [
        Command("serve", (*PYTHON, "app.worker.main", "serve"), (health,), answers(health), address),
        Command("api", (*PYTHON, "app.api.http.main"), (api,), answers(api), address),
        Command("fleet dev", (*fleet, "dev"), (*local, api), says("Ctrl-C stops the fleet")),
        Command("fleet dev --once", (*fleet, "dev", "--once"), (*local, api)),
        Command("fleet queues", (*fleet, "queues")),
        Command("fleet describe", (*fleet, "describe", "OrderWorkflow")),
        Command("fleet config", (*fleet, "config")),
        Command("fleet check", (*fleet, "check")),
        Command("fleet check --server", (*fleet, "check", "--server"), env=address),
    ]


def measure(command: Command, record: Record) -> dict[str, Any]:
    """One cycle; what came of it is added to `record`."""
    with tempfile.TemporaryDirectory(prefix="fleet-cycle-") as folder:
        result = _cycle(command, Path(folder), early=command.ready is not None and random.random() < 0.2)
    record.add(result)
    return result


def _cycle(command: Command, folder: Path, *, early: bool) -> dict[str, Any]:
    tmp, cwd, out = folder / "tmp", folder / "cwd", folder / "out"
    tmp.mkdir()
    cwd.mkdir()
    ports = {variable: free_port(HOST) for variable in command.ports}
    env = {name: text for name, text in os.environ.items() if not name.startswith(("FLEET_", "TEMPORAL_", "OTEL_"))}
    env |= {"TMPDIR": str(tmp), "TEMPORAL_CONFIG_FILE": os.devnull, "FLEET_LOCAL__DATA_DIR": str(folder / "data")}
    env |= {variable: str(port) for variable, port in ports.items()} | {"PYTHONUNBUFFERED": "1", **command.env}
    known = set(children())
    begin = time.monotonic()
    with out.open("wb") as file:
        process = subprocess.Popen(command.argv, cwd=cwd, env=env, stdout=file, stderr=file, start_new_session=True)
    result: dict[str, Any] = {"command": command.name, "stopped": "at its end", "signal": ""}
    if command.ready is not None:
        if early:
            time.sleep(random.uniform(0, 3))
        else:
            while process.poll() is None and not command.ready(ports, out.read_text()):
                if time.monotonic() - begin > START_TIMEOUT_S:
                    break
                time.sleep(0.05)
            result["start_s"] = round(time.monotonic() - begin, 2)
            time.sleep(random.uniform(0, 1))
        number = random.choice((signal.SIGTERM, signal.SIGINT))
        result |= {"stopped": "starting" if early else "ready", "signal": number.name}
        begin = time.monotonic()
        process.send_signal(number)
    hung = False
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        hung = True
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    result |= {"code": process.returncode, "stop_s": round(time.monotonic() - begin, 2)}
    killed = early and process.returncode in KILLED
    leaks = ["it did not end"] if hung else []
    leaks += [f"process: {text}" for text in orphans(known, GUARDIAN_S if killed else 0)]
    leaks += [f"port: {port}" for port in listening(ports.values())]
    leaks += [f"file: {path}" for path in files(tmp, cwd)]
    wrong = bool(leaks) or (process.returncode != 0 and not killed)
    return {**result, "leaks": leaks, "ok": not wrong, **({"said": out.read_text()[-2000:]} if wrong else {})}


WORKERS = "workers of fleet dev"


def measure_workers(record: Record, restarts: int) -> None:
    """Stop the workers of one `fleet dev` in turn, `restarts` times; a line each, with the supervisor's own counts."""
    with (
        tempfile.TemporaryDirectory(prefix="fleet-cycle-") as folder,
        DevFleet(Path(folder), "--no-order") as fleet,
    ):
        fleet.ready()
        queues = sorted(fleet.state()["queues"])
        for number in range(restarts):
            queue = queues[number % len(queues)]
            old = until(partial(_ready_worker, fleet, queue), 120)
            begin = time.monotonic()
            os.kill(old["pid"], signal.SIGTERM)
            until(partial(_ready_worker, fleet, queue, old["pid"]), 120)
            stop_s = round(time.monotonic() - begin, 2)
            code = until(partial(_left_with, fleet, old["identity"]), 10)[0]
            descriptors, threads = counts(fleet.process.pid)
            line = {"command": WORKERS, "run": fleet.process.pid, "descriptors": descriptors, "threads": threads}
            record.add({**line, "stopped": "ready", "code": code, "ok": code == 0, "leaks": [], "stop_s": stop_s})


def _ready_worker(fleet: DevFleet, queue: str, other: int = 0) -> dict[str, Any] | None:
    """A worker that is ready, and not the one with the pid `other`."""
    for worker in fleet.workers(queue):
        if worker["pid"] != other:
            with urllib.request.urlopen(f"http://{worker['health']}/readyz", timeout=5):
                return worker
    return None


def _left_with(fleet: DevFleet, identity: str) -> list[int]:
    """The exit code of a worker that was stopped, by what the fleet said of it; empty before that."""
    said = re.compile(rf" {re.escape(identity)} (?:was stopped from outside and has drained|ended with (-?\d+))")
    return [int(found[1] or 0) for line in list(fleet.lines) if (found := said.search(line))]


def summary(record: Record) -> str:
    """The table of docs/drain.md."""
    rows = [
        "| command | n | stopped ready / starting | exit codes | leaks | start, s | stop, s: median, max |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(line["command"] for line in record.lines()):
        lines = record.lines(command=name)
        when = Counter(line.get("stopped") for line in lines)
        stops = f"{when['ready']} / {when['starting']}" if when["ready"] else "-"
        codes = Counter(f"{line['code']} ({line['stopped']})" if line["code"] else "0" for line in lines)
        starts = [line["start_s"] for line in lines if "start_s" in line]
        ends = [line["stop_s"] for line in lines]
        leaks = str(sum(len(line["leaks"]) for line in lines))
        if name == WORKERS:
            runs = [[line for line in lines if line["run"] == run] for run in {line["run"] for line in lines}]
            leaks = ", ".join(f"{key} {max(_grown(run, key) for run in runs):+d}" for key in ("descriptors", "threads"))
        start = f"{statistics.median(starts):.1f}" if starts else "-"
        stop = f"{statistics.median(ends):.1f}, {max(ends):.1f}"
        said = ", ".join(f"{n} x {code}" for code, n in codes.items())
        rows.append(f"| {name} | {len(lines)} | {stops} | {said} | {leaks} | {start} | {stop} |")
    return "\n".join(rows)


def _grown(run: list[dict[str, Any]], key: str) -> int:
    return int(max(line[key] for line in run[-3:]) - max(line[key] for line in run[:3]))


def main() -> None:
    """Run what is missing; see the module's text."""
    parser = argparse.ArgumentParser(description="Start and stop each command, and look for what is left.")
    parser.add_argument(
        "--until", type=int, default=5, metavar="N", help="cycles of each command, with those on record"
    )
    parser.add_argument("--only", action="append", metavar="COMMAND", help="as the table calls it; may be repeated")
    parser.add_argument("--summary", action="store_true", help="print the table of what is on record")
    arguments = parser.parse_args()
    record = Record("cycles")
    if arguments.summary:
        print(summary(record))
        return
    # A shell lets programs in the background ignore Ctrl-C, and they hand that down to what they start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    adopt_orphans()
    with tempfile.TemporaryDirectory(prefix="fleet-cycles-") as folder, own_server(Path(folder)) as (temporal, _):
        todo = [command for command in commands(temporal) if command.name in (arguments.only or [command.name])]
        for number in range(arguments.until):
            for command in todo:
                if len(record.lines(command=command.name)) <= number:
                    result = measure(command, record)
                    print(json.dumps(result), flush=True)
    missing = arguments.until - len(record.lines(command=WORKERS))
    if missing > 0 and WORKERS in (arguments.only or [WORKERS]):
        measure_workers(record, missing)
    print(summary(record))
    # The SDK's threads may crash a normal exit (app.core.exit).
    sys.stdout.flush()
    os._exit(0 if all(line["ok"] for line in record.lines()) else 1)


if __name__ == "__main__":
    main()
