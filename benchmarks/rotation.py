"""Do workers notice that their credentials change? `python -m benchmarks.rotation --until 60` (10 minutes)

A worker process works behind a proxy that wants a client certificate and an API key. Every PERIOD_S both are replaced:
for OVERLAP_S the old ones are taken as well, then they are refused. No connection grows older than CONNECTION_AGE_S,
as it is with Temporal's own frontends: the next one is made with the certificate of the moment. A rotation is fine when
each run that ended in it had one attempt of each task, the worker is the process that it was, no worker in it was
started again, and the old certificate and the old key are refused.

--cuts resets every connection in each third rotation as well. What is on the wire in that moment is lost, and is done
again after a timeout, whatever a client does: so those rotations show that it heals, not that nothing is repeated.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError, TLSConfig

from app.core.config import use
from app.core.services.temporal.plugin import fleet_plugins
from benchmarks.record import Record
from tests.apps.faults import Rests
from tests.core.temporal_front import put
from tests.parts.authority import Authority, Certificate
from tests.parts.grpc_proxy import Proxy, grpc_proxy
from tests.parts.relay import Relay, relay
from tests.parts.temporal import own_server
from tests.worker.pools import lab_settings
from tests.worker.served import Served

PERIOD_S = 10.0
OVERLAP_S = 9.0
"""A worker looks at its files every 5 s and tries what it finds."""
CONNECTION_AGE_S = 12.0
CUT_EVERY = 3
CALLERS = 8
FAILED = (
    EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED,
    EventType.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT,
    EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED,
    EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT,
)


class Credentials:
    """The worker's files, what the proxy takes, and the pair before."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._number = 0
        self.server = Authority(folder, "server-authority")
        self.server_pair = self.server.issue("server")
        self.cert, self.key, self.api_key = folder / "tls.crt", folder / "tls.key", folder / "api-key"
        self.taken = folder / "taken.crt"
        self.now = self._next()
        self.before = self.now
        self._write()
        self._take(self.now)

    def rotate(self, proxy: Proxy) -> None:
        """New files; the proxy takes both pairs."""
        self.before, self.now = self.now, self._next()
        self._take(self.before, self.now)
        proxy.old_api_key, proxy.api_key = self.before[2], self.now[2]
        self._write()

    def end_old(self, proxy: Proxy) -> None:
        """From now on the proxy refuses the pair before."""
        self._take(self.now)
        proxy.old_api_key = ""

    def settings(self) -> dict[str, str]:
        return {
            "TEMPORAL__TLS__SERVER_CA_FILE": str(self.server.cert),
            "TEMPORAL__TLS__CLIENT_CERT_FILE": str(self.cert),
            "TEMPORAL__TLS__CLIENT_KEY_FILE": str(self.key),
            "TEMPORAL__API_KEY_FILE": str(self.api_key),
        }

    async def works(self, address: str, pair: Certificate, api_key: str) -> bool:
        """Whether Temporal is reached with these."""
        tls = TLSConfig(self.server.cert.read_bytes(), None, pair.cert.read_bytes(), pair.key.read_bytes())
        try:
            async with asyncio.timeout(5):
                client = await Client.connect(address, tls=tls, api_key=api_key)
                await client.workflow_service.describe_namespace(
                    DescribeNamespaceRequest(namespace="default"), retry=False
                )
        except (RPCError, RuntimeError, TimeoutError):
            return False
        return True

    def _next(self) -> tuple[Authority, Certificate, str]:
        self._number += 1
        authority = Authority(self._folder, f"authority-{self._number}")
        return authority, authority.issue(f"client-{self._number}"), uuid.uuid4().hex

    def _write(self) -> None:
        put(self.key, self.now[1].key.read_bytes())
        put(self.cert, self.now[1].cert.read_bytes())
        put(self.api_key, self.now[2])

    def _take(self, *pairs: tuple[Authority, Certificate, str]) -> None:
        put(self.taken, b"".join(authority.cert.read_bytes() for authority, _, _ in pairs))


class Load:
    """Small runs without end, and what their histories say."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.runs = 0
        self.failed: Counter[str] = Counter()

    async def call(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            handle = await Rests.start_workflow(self._client, input=0.1, id=f"rotation-{uuid.uuid4()}")
            await handle.result()
            async for event in handle.fetch_history_events():
                if event.event_type in FAILED:
                    self.failed[EventType.Name(event.event_type)] += 1
                if event.HasField("activity_task_started_event_attributes"):
                    self.failed["REPEATED"] += event.activity_task_started_event_attributes.attempt > 1
            self.runs += 1


async def one_rotation(
    credentials: Credentials, proxy: Proxy, link: Relay, worker: Served, load: Load, number: int, cuts: bool
) -> dict[str, Any]:
    """One period, and what became of the work in it."""
    begin, runs, failed = time.monotonic(), load.runs, load.failed.copy()
    credentials.rotate(proxy)
    await asyncio.sleep(OVERLAP_S)
    credentials.end_old(proxy)
    cut = cuts and number % CUT_EVERY == CUT_EVERY - 1
    if cut:
        link.cut()
    (_, old_pair, old_key), (_, pair, key) = credentials.before, credentials.now
    old_works = [
        await credentials.works(link.address, old_pair, key),
        await credentials.works(link.address, pair, old_key),
    ]
    new_works = await credentials.works(link.address, pair, key)
    await asyncio.sleep(max(0.0, PERIOD_S - (time.monotonic() - begin)))
    page = await asyncio.to_thread(worker.metrics)
    return {
        "runs": load.runs - runs,
        "failed": dict(load.failed - failed),
        "restarts": sum(float(n) for n in re.findall(r"^fleet_worker_restarts_total\{.*\} (\S+)", page, re.MULTILINE)),
        "alive": worker.process.poll() is None,
        "cut": cut,
        "connections": link.connects,
        "old_refused": not any(old_works) and new_works,
    }


async def run(address: str, folder: Path, record: Record, until: int, cuts: bool) -> None:
    os.environ["FAULTS_EVIDENCE"] = str(folder / "evidence")
    credentials = Credentials(folder)
    client = await Client.connect(address, plugins=fleet_plugins())
    load, stop = Load(client), asyncio.Event()
    with _behind(address, credentials) as (proxy, link):
        proxy.api_key = credentials.now[2]
        worker = Served(
            folder,
            {
                "TEMPORAL__ADDRESS": link.address,
                "TEMPORAL__WORKER__PACKAGES": '["tests.apps.faults"]',
                **credentials.settings(),
            },
            "--queue",
            "faults",
        )
        try:
            await asyncio.to_thread(worker.ready)
            callers = [asyncio.create_task(load.call(stop)) for _ in range(CALLERS)]
            for number in range(until - len(record.lines())):
                result = await one_rotation(credentials, proxy, link, worker, load, number, cuts)
                record.add({"rotation": len(record.lines()) + 1, "pid": worker.process.pid, **result})
                print(result, flush=True)
            stop.set()
            await asyncio.wait_for(asyncio.gather(*callers), 60)
        finally:
            worker.process.kill()
            worker.process.wait()


@contextmanager
def _behind(address: str, credentials: Credentials) -> Iterator[tuple[Proxy, Relay]]:
    """A proxy that wants a certificate and a key, and the way to it."""
    with (
        grpc_proxy(
            address,
            certificate=credentials.server_pair,
            client_authority=credentials.taken,
            connections_age_s=CONNECTION_AGE_S,
        ) as proxy,
        relay(proxy.address) as link,
    ):
        yield proxy, link


def summary(record: Record) -> str:
    """The table of docs/drain.md."""
    lines = record.lines()
    failed = sum(sum(line["failed"].values()) for line in lines)
    cells = (
        len(lines),
        sum(line["cut"] for line in lines),
        sum(line["old_refused"] for line in lines),
        sum(line["runs"] for line in lines),
        failed,
        int(sum(line["restarts"] for line in lines)),
        sum(not line["alive"] for line in lines),
    )
    return "\n".join(
        [
            "| rotations | with a cut | old refused | runs | failed or repeated tasks | restarts | died |",
            "|---|---|---|---|---|---|---|",
            f"| {' | '.join(map(str, cells))} |",
        ]
    )


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description="Rotate certificates and keys under a working worker.")
    parser.add_argument("--until", type=int, default=60, help="rotations on record when it ends")
    parser.add_argument("--summary", action="store_true", help="print what is on record, and do nothing")
    parser.add_argument("--cuts", action="store_true", help="reset all connections in each third rotation")
    arguments = parser.parse_args()
    record = Record("rotation-cuts" if arguments.cuts else "rotation")
    if not arguments.summary:
        folder = Path(tempfile.mkdtemp(prefix="fleet-rotation-"))
        (folder / "temporal").mkdir()
        with own_server(folder / "temporal") as (address, _):
            use(lab_settings(address))
            asyncio.run(run(address, folder, record, arguments.until, arguments.cuts))
    print(summary(record))
    sys.stdout.flush()
    # The SDK's threads may crash a normal exit (app.core.exit).
    os._exit(0)


if __name__ == "__main__":
    main()
