"""How many dispatches does a rolling replacement of workers lose? `python -m benchmarks.drain --drains 25`

One queue with more work than slots, its single worker replaced again and again: the next one is ready, then the old one
gets SIGTERM. An activity that the server had started and that ran nowhere comes back as attempt 2 after its
start-to-close timeout: that is an orphan. Everything is real: server, processes, signals. Print one JSON line a run.

--poll-cancel switches the server's flag frontend.enableCancelWorkerPollsOnShutdown: compare runs of both, in turn, and
state the machine's load, which decides.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from pathlib import Path

from temporalio.client import Client

from app.core.config import use
from app.core.ports import free_port
from app.core.services.temporal.plugin import fleet_plugins
from app.local import server
from tests.apps.lab import workflows as lab
from tests.worker.pools import lab_settings

HOST = "127.0.0.1"
CALLERS = 30
SLOTS = 10
START_TO_CLOSE_S = 8


class RollingWorkers:
    """One worker process at a time, each replaced while it works."""

    def __init__(self, folder: Path, address: str) -> None:
        self._folder = folder
        self._env = {
            **os.environ,
            "FLEET_TEMPORAL__ADDRESS": address,
            "FLEET_TEMPORAL__WORKER__PACKAGES": '["tests.apps.lab"]',
            "FLEET_TEMPORAL__WORKER__MAX_CONCURRENT_ACTIVITIES": str(SLOTS),
            "FLEET_TEMPORAL__ACTIVITIES__START_TO_CLOSE_TIMEOUT_S": str(START_TO_CLOSE_S),
        }
        self._made = 0
        self.codes: Counter[int] = Counter()
        self.current = self._start()

    def replace(self) -> None:
        """Start the next one, then SIGTERM the old one and wait for its end."""
        old, self.current = self.current, self._start()
        time.sleep(random.uniform(0, 0.3))
        self._end(old)

    def close(self) -> None:
        self._end(self.current)

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        process.send_signal(signal.SIGTERM)
        self.codes[process.wait()] += 1

    def _start(self) -> subprocess.Popen[bytes]:
        self._made += 1
        port = free_port(HOST)
        env = self._env | {
            "FLEET_TEMPORAL__WORKER__HEALTH_PORT": str(port),
            "FLEET_TEMPORAL__WORKER__IDENTITY": f"worker-{self._made}",
        }
        command = [sys.executable, "-m", "app.worker.main", "serve", "--queue", "lab"]
        with (self._folder / f"worker-{self._made}.log").open("wb") as log:
            process = subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True)
        while not _ready(port):
            time.sleep(0.05)
        return process


async def measure(address: str, workers: RollingWorkers, drains: int) -> dict[str, object]:
    """Replace the worker `drains` times under load; what became of every activity."""
    client = await Client.connect(address, plugins=fleet_plugins())
    stop = asyncio.Event()
    ids: list[str] = []

    async def call(caller: int) -> None:
        number = 0
        while not stop.is_set():
            workflow_id, number = f"drain-{caller}-{number}", number + 1
            ids.append(workflow_id)
            await lab.Slept.execute_workflow(client, input=random.uniform(0.05, 0.6), id=workflow_id)

    callers = [asyncio.create_task(call(caller)) for caller in range(CALLERS)]
    begin = time.monotonic()
    for _ in range(drains):
        await asyncio.to_thread(workers.replace)
    seconds = time.monotonic() - begin
    stop.set()
    await asyncio.gather(*callers)
    attempts = [attempt for workflow_id in ids for attempt in await _attempts(client, workflow_id)]
    await asyncio.to_thread(workers.close)
    return {
        "drains": drains,
        "activities": len(attempts),
        "per_s": round(len(attempts) / seconds, 1),
        "orphans": sum(attempt > 1 for attempt in attempts),
        "exit_codes": dict(workers.codes),
        "load_average": round(os.getloadavg()[0], 1),
    }


async def _attempts(client: Client, workflow_id: str) -> list[int]:
    events = (await client.get_workflow_handle(workflow_id).fetch_history()).events
    started = [e for e in events if e.HasField("activity_task_started_event_attributes")]
    return [event.activity_task_started_event_attributes.attempt for event in started]


def _ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}/readyz", timeout=5):
            return True
    except OSError:
        return False


def main() -> None:
    """Run it once; see the module's text."""
    parser = argparse.ArgumentParser(description="Count the dispatches that rolling drains lose.")
    parser.add_argument("--drains", type=int, default=25)
    parser.add_argument("--poll-cancel", choices=["on", "off"], default="off")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="fleet-drain-"))
    port = free_port(HOST)
    line = server.command(folder, port, free_port(HOST))
    flag = "frontend.enableCancelWorkerPollsOnShutdown="
    line = [f"{flag}{str(arguments.poll_cancel == 'on').lower()}" if part.startswith(flag) else part for part in line]
    with (folder / "temporal.log").open("wb") as log:
        temporal = subprocess.Popen(line, stdout=log, stderr=log, start_new_session=True)
    try:
        use(lab_settings(f"{HOST}:{port}"))
        result = asyncio.run(measure(f"{HOST}:{port}", RollingWorkers(folder, f"{HOST}:{port}"), arguments.drains))
        print(json.dumps({"poll_cancel": arguments.poll_cancel, **result}), flush=True)
    finally:
        os.killpg(temporal.pid, signal.SIGTERM)
        temporal.wait()
    # The SDK's threads may crash a normal exit (app.core.exit).
    os._exit(0)


if __name__ == "__main__":
    main()
